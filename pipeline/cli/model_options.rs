//! `--ignore-keys` and `--normalize`: what a user says of a model beside where it is.
use nodes::tool::model_options::ModelOptions;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Keys of config.json that change no hidden state, though this version does not know them
    #[arg(long, value_delimiter = ',', value_name = "KEY,KEY")]
    ignore_keys: Vec<String>,
    /// Whether waveforms get zero mean and unit variance, where the model's files say it wrongly or not at all
    #[arg(long, value_name = "true|false")]
    normalize: Option<bool>,
}

impl Arguments {
    /// Whether hidden states may be others than the model's files say.
    pub(crate) fn overrules(&self) -> bool {
        self.normalize.is_some()
    }

    pub(crate) fn options(&self) -> ModelOptions {
        ModelOptions {
            ignore_keys: self.ignore_keys.clone(),
            normalize: self.normalize,
        }
    }
}
