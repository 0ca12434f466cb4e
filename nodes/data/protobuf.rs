//! Writes messages of protobuf.

/// The bytes of a message. A field is varint(number << 3 | wire type), then its value.
#[derive(Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    fn varint(mut self, mut n: u64) -> Message {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
        self
    }

    /// Adds a whole number.
    pub(crate) fn int(self, field: u64, value: u64) -> Message {
        self.varint(field << 3).varint(value)
    }

    /// Adds a number of 64 bits.
    pub(crate) fn double(self, field: u64, value: f64) -> Message {
        self.varint(field << 3 | 1).bytes(&value.to_le_bytes())
    }

    /// Adds a number of 32 bits.
    pub(crate) fn float(self, field: u64, value: f32) -> Message {
        self.varint(field << 3 | 5).bytes(&value.to_le_bytes())
    }

    /// Adds a text.
    pub(crate) fn text(self, field: u64, value: &str) -> Message {
        self.varint(field << 3 | 2)
            .varint(value.len() as u64)
            .bytes(value.as_bytes())
    }

    /// Adds a message.
    pub(crate) fn message(self, field: u64, value: &Message) -> Message {
        self.varint(field << 3 | 2)
            .varint(value.0.len() as u64)
            .bytes(&value.0)
    }

    /// Adds the key of a message of this many bytes, which the caller writes behind it.
    pub(crate) fn key_of_bytes(self, field: u64, bytes: u64) -> Message {
        self.varint(field << 3 | 2).varint(bytes)
    }

    fn bytes(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self
    }
}
