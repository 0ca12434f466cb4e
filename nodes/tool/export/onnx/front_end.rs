//! From waveforms to the input of the encoder.
use super::builder::Builder;
use super::graph::{Attribute, Element, Value};
use crate::data::mel::{FFT, FRAME, Mel, SHIFT};
use crate::model::{DUMMY_WEIGHT, ExtractNorm};

/// The epsilon of the extractor's norms.
const EPSILON: f32 = 1e-5;

/// Shape, stride and padding of a convolution over time.
pub(super) struct Convolution<'a> {
    pub(super) shape: &'a [usize],
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) groups: usize,
}

impl Builder<'_> {
    /// Returns the feature projection of waveforms, (rows, frames, width).
    pub(super) fn front_end(&mut self, waveform: &str) -> Value {
        if self.architecture().is_fbank() {
            let frames = self.log_mel(waveform);
            return self.fbank_projection(&frames);
        }
        let features = self.extractor(waveform);
        self.projection(&features)
    }

    /// Convolves (rows, channels, frames).
    pub(super) fn convolution(
        &mut self,
        x: &str,
        weight: &[f32],
        bias: Option<&[f32]>,
        convolution: &Convolution,
    ) -> Value {
        let weight = self.weight(convolution.shape, weight);
        let mut inputs = vec![x, &weight];
        let bias = bias.map(|bias| self.graph.floats(&[bias.len()], bias));
        inputs.extend(bias.as_deref());
        let pads = vec![convolution.padding; 2];
        self.graph.op(
            "Conv",
            &inputs,
            &[
                ("strides", Attribute::Ints(vec![convolution.stride])),
                ("pads", Attribute::Ints(pads)),
                ("group", Attribute::Int(convolution.groups as i64)),
            ],
        )
    }

    /// Runs the convolutions over samples.
    fn extractor(&mut self, waveform: &str) -> Value {
        let a = self.architecture();
        let axis = self.graph.ints(&[1]);
        let mut x = self.op("Unsqueeze", &[waveform, &axis]);
        let mut inputs = 1;
        for (i, &channels) in a.conv_dim.iter().enumerate() {
            let prefix = format!("feature_extractor.conv_layers.{i}.");
            let weight = self.tensor(&format!("{prefix}conv.weight"));
            let bias = self.find(&format!("{prefix}conv.bias"));
            let convolution = Convolution {
                shape: &[channels, inputs, a.conv_kernel[i]],
                stride: a.conv_stride[i],
                padding: 0,
                groups: 1,
            };
            x = self.convolution(&x, &weight, bias.as_deref(), &convolution);
            let norm = format!("{prefix}layer_norm.");
            if a.feat_extract_norm == ExtractNorm::Layer {
                let turned = self.transpose(&x, &[0, 2, 1]);
                let normalised = self.norm(&turned, &norm, EPSILON);
                x = self.transpose(&normalised, &[0, 2, 1]);
            } else if i == 0 {
                let gamma = self.vector(&format!("{norm}weight"));
                let beta = self.vector(&format!("{norm}bias"));
                // Its epsilon is 1e-5 unless said.
                x = self.op("InstanceNormalization", &[&x, &gamma, &beta]);
            }
            x = self.gelu(&x);
            inputs = channels;
        }
        let x = self.transpose(&x, &[0, 2, 1]);
        match self.find(DUMMY_WEIGHT) {
            Some(gates) => {
                let gates = self.graph.floats(&[gates.len()], &gates);
                self.op("Mul", &[&x, &gates])
            }
            None => x,
        }
    }

    fn projection(&mut self, x: &str) -> Value {
        let a = self.architecture();
        let norm = "feature_projection.layer_norm.";
        let linear = "feature_projection.projection.";
        let epsilon = a.layer_norm_eps as f32;
        if let Some(width) = a.feature_norm_width {
            return self.projection_over_closed_channels(x, width);
        }
        let mut x = x.to_owned();
        if a.feat_proj_layer_norm {
            x = self.norm(&x, norm, epsilon);
        }
        if a.feature_projection {
            x = self.linear(&x, linear);
        }
        x
    }

    /// Normalises over `width` channels, of which those beyond x are zero, and maps linearly: the
    /// zeros add - mean / deviation times `folded`.
    fn projection_over_closed_channels(&mut self, x: &str, width: usize) -> Value {
        let a = self.architecture();
        let open = a.channels() as f32 / width as f32;
        let share = self.graph.float(open);
        let closed_share = self.graph.float(1.0 - open);
        let mean = self.mean(x);
        let mean = self.op("Mul", &[&mean, &share]);
        let centred = self.op("Sub", &[x, &mean]);
        let squares = self.op("Mul", &[&centred, &centred]);
        let squares = self.mean(&squares);
        let of_open = self.op("Mul", &[&squares, &share]);
        let squared_mean = self.op("Mul", &[&mean, &mean]);
        let of_closed = self.op("Mul", &[&squared_mean, &closed_share]);
        let variance = self.op("Add", &[&of_open, &of_closed]);
        let epsilon = self.graph.float(a.layer_norm_eps as f32);
        let variance = self.op("Add", &[&variance, &epsilon]);
        let deviation = self.op("Sqrt", &[&variance]);
        let normalised = self.op("Div", &[&centred, &deviation]);
        let normalised = self.scaled(&normalised, "feature_projection.layer_norm.");
        let mapped = self.linear(&normalised, "feature_projection.projection.");
        let folded = self.vector("feature_projection.folded");
        let of_zeros = self.op("Div", &[&mean, &deviation]);
        let of_zeros = self.op("Mul", &[&of_zeros, &folded]);
        self.op("Sub", &[&mapped, &of_zeros])
    }

    /// Computes log-mel frames as `data::mel`: a frame's spectrum is one linear map of its samples,
    /// in f64, because quiet bins beside loud ones would be rounding in f32.
    fn log_mel(&mut self, waveform: &str) -> Value {
        let bins = self.architecture().fbank_bins;
        let mel = Mel::new(bins);
        let framed = self.frames(waveform);
        let framed = self.cast(&framed, Element::F64);
        let weights = mel.spectrum_weights();
        let bytes = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
        let weights = self.graph.constant(Element::F64, &[FRAME, FFT], bytes);
        let spectrum = self.op("MatMul", &[&framed, &weights]);
        let squares = self.op("Mul", &[&spectrum, &spectrum]);
        let halves = [("axis", Attribute::Int(2))];
        let parts = self.graph.op_with_outputs("Split", &[&squares], &halves, 2);
        let power = self.op("Add", &[&parts[0], &parts[1]]);
        let power = self.cast(&power, Element::F32);
        let filters = self.graph.floats(&[FFT / 2, bins], &mel.filter_weights());
        let energies = self.op("MatMul", &[&power, &filters]);
        let least = self.graph.float(f32::EPSILON);
        let energies = self.op("Max", &[&energies, &least]);
        let frames = self.op("Log", &[&energies]);
        let model = self.model;
        let Some(cmvn) = &model.cmvn else {
            return frames;
        };
        let mean = self.graph.floats(&[bins], &cmvn.mean);
        let std = self.graph.floats(&[bins], &cmvn.std);
        let centred = self.op("Sub", &[&frames, &mean]);
        self.op("Div", &[&centred, &std])
    }

    /// Cuts waveforms, (rows, samples), to frames of 25 ms every 10 ms, (rows, frames, samples).
    fn frames(&mut self, waveform: &str) -> Value {
        let shape = self.op("Shape", &[waveform]);
        let one = self.graph.int(1);
        let samples = self.op("Gather", &[&shape, &one]);
        let frame = self.graph.int(FRAME as i64);
        let shift = self.graph.int(SHIFT as i64);
        let after_first = self.op("Sub", &[&samples, &frame]);
        let further = self.op("Div", &[&after_first, &shift]);
        let frames = self.op("Add", &[&further, &one]);
        let zero = self.graph.int(0);
        let numbers = self.op("Range", &[&zero, &frames, &one]);
        let starts = self.op("Mul", &[&numbers, &shift]);
        let axis = self.graph.ints(&[1]);
        let starts = self.op("Unsqueeze", &[&starts, &axis]);
        let places: Vec<i64> = (0..FRAME as i64).collect();
        let places = self.graph.ints(&places);
        let places = self.op("Add", &[&starts, &places]);
        self.graph.op(
            "Gather",
            &[waveform, &places],
            &[("axis", Attribute::Int(1))],
        )
    }

    fn fbank_projection(&mut self, frames: &str) -> Value {
        let a = self.architecture();
        let kernel = a.fbank_conv_kernel[0];
        let prefix = "feature_extractor.fbank_conv_layers.0.conv.";
        let weight = self.tensor(&format!("{prefix}weight"));
        let bias = self.tensor(&format!("{prefix}bias"));
        let convolution = Convolution {
            shape: &[bias.len(), a.fbank_bins, kernel],
            stride: 2,
            padding: kernel / 2,
            groups: 1,
        };
        let x = self.transpose(frames, &[0, 2, 1]);
        let x = self.convolution(&x, &weight, Some(&bias), &convolution);
        let halves = [("axis", Attribute::Int(1))];
        let parts = self.graph.op_with_outputs("Split", &[&x], &halves, 2);
        let gate = self.op("Sigmoid", &[&parts[1]]);
        let x = self.op("Mul", &[&parts[0], &gate]);
        let x = self.transpose(&x, &[0, 2, 1]);
        self.linear(&x, "feature_projection.fbank_projection.")
    }
}
