

# The classes that `AutoConfig` and `AutoModel` load with `trust_remote_code=True`.
from transformers import PretrainedConfig, PreTrainedModel  # noqa: E402
from transformers.modeling_outputs import BaseModelOutput  # noqa: E402


class CompactSpeechConfig(PretrainedConfig):
    """The keys of config.json as attributes."""

    model_type = "MODEL_TYPE"

    def __init__(self, **keys):
        super().__init__(**keys)


class CompactSpeechModel(EncoderMixin, PreTrainedModel):
    """The encoder as a model of transformers. Its parameters train as any model's."""

    config_class = CompactSpeechConfig
    main_input_name = "input_values"
    base_model_prefix = "encoder_model"

    def __init__(self, config):
        super().__init__(config)
        self.build(config.to_dict())
        self.post_init()

    def _init_weights(self, module):
        """Keeps PyTorch's own start: every tensor comes from model.safetensors."""

    def forward(
        self,
        input_values,
        attention_mask=None,
        mask_time_indices=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        """Returns hidden states as transformers numbers them.

        `input_values` (rows, samples) come from the feature extractor of preprocessor_config.json.
        `attention_mask` (rows, samples) says where a row ends; its frames are as if it were alone,
        with zeros behind them. `mask_time_indices` (rows, frames) says which frames the mask
        embedding replaces.
        """
        if attention_mask is None or bool(attention_mask.all()):
            states = self.states(input_values, mask_time_indices)
        else:
            lengths = attention_mask.sum(-1).tolist()
            rows = [row[:length] for row, length in zip(input_values, lengths)]
            states = [padded(layer) for layer in self.states_by_row(rows, mask_time_indices)]
        if output_hidden_states is None:
            output_hidden_states = getattr(self.config, "output_hidden_states", False)
        hidden_states = tuple(states) if output_hidden_states else None
        output = BaseModelOutput(last_hidden_state=states[-1], hidden_states=hidden_states)
        return output.to_tuple() if return_dict is False else output
