//! TensorBoard's `Event` as messages of protobuf (tensorboard/compat/proto: event, summary, tensor).
use crate::data::metrics::MetricLine;
use crate::data::protobuf::Message;

/// `SessionLog.START`.
const START: u64 = 1;
/// `DataType.DT_STRING`.
const STRING: u64 = 7;

/// Builds the event that states the version of the file format.
pub(super) fn version(now: f64) -> Message {
    Message::default().double(1, now).text(3, "brain.Event:2")
}

/// Builds the event that makes a reader discard what it has read of an earlier file.
pub(super) fn session_start(now: f64) -> Message {
    Message::default()
        .double(1, now)
        .message(7, &Message::default().int(1, START))
}

/// Builds the event of one metric.
pub(super) fn scalar(line: &MetricLine) -> Message {
    let tag = format!("{}/{}", line.phase, line.name);
    let number = line.value.map_or(f32::NAN, |value| value as f32);
    let value = Message::default().text(1, &tag).float(2, number);
    Message::default()
        .double(1, line.wall_time)
        .int(2, line.step)
        .message(5, &Message::default().message(1, &value))
}

/// Builds the event of a text in Markdown: a tensor of one string, for the `text` plugin.
pub(super) fn markdown(now: f64, tag: &str, text: &str) -> Message {
    let shape = Message::default().message(2, &Message::default().int(1, 1));
    let tensor = Message::default()
        .int(1, STRING)
        .message(2, &shape)
        .text(8, text);
    let plugin = Message::default().message(1, &Message::default().text(1, "text"));
    let value = Message::default()
        .text(1, tag)
        .message(8, &tensor)
        .message(9, &plugin);
    Message::default()
        .double(1, now)
        .message(5, &Message::default().message(1, &value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tensorboard's `Event(wall_time=1.5, step=300, summary=…).SerializeToString()`.
    #[test]
    fn an_event_is_what_protobuf_writes() {
        let line = MetricLine {
            phase: "p".into(),
            step: 300,
            wall_time: 1.5,
            name: "loss".into(),
            value: Some(0.5),
        };
        let bytes =
            b"\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x2a\x0f\x0a\x0d\x0a\x06p/loss\x15\0\0\0\x3f";
        assert_eq!(scalar(&line).0, bytes);
    }
}
