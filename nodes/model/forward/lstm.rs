//! Recurrent layers.
use super::Forward;
use crate::model::components::{ComponentKind, lstm_names};
use compute::op::{dropout, lstm};
use compute::tensor::{Hidden, Param, Track};

impl<T: Track> Forward<'_, T> {
    /// Runs a recurrent layer. `hidden_dropout` is `nn.LSTM`'s `dropout`: on what a layer receives
    /// from the one before it, which is not what that layer sends.
    pub(super) fn lstm_layer(&self, l: usize, x: Hidden<T>) -> Hidden<T> {
        let a = &self.model.architecture;
        let prefix = ComponentKind::Lstm(l).prefix();
        let mut x = x;
        if l > 0 {
            x = dropout(x, self.drops.at(a.hidden_dropout, 2 + 4 * l));
        }
        let mut directions: Vec<[&Param; 4]> = vec![];
        for direction in 0..a.lstm_directions() {
            let names = lstm_names(l, direction);
            let names = names.each_ref().map(String::as_str);
            directions.push(self.model.weights.all(&prefix, names));
        }
        lstm(x, &directions, self.precision)
    }
}
