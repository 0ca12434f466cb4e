//! A message between ranks as bytes: flags, the length of the moment's name as u32 LE, the name, the
//! body.

/// What one rank tells the others in an exchange.
pub(super) struct Message {
    /// Whether the rank has failed; the rest is then empty.
    pub(super) failed: bool,
    /// Whether a signal has asked the rank to stop.
    pub(super) stop: bool,
    /// What the rank is at.
    pub(super) moment: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Returns the bytes of the message.
    pub(super) fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.failed) | u8::from(self.stop) << 1;
        let length = self.moment.len() as u32;
        let mut bytes = vec![flags];
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.moment.as_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Reads a message; `None` if the bytes are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
        let (&flags, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (moment, body) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Message {
            failed: flags & 1 != 0,
            stop: flags & 2 != 0,
            moment: String::from_utf8(moment.into()).ok()?,
            body: body.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for (failed, stop) in [(false, true), (true, false)] {
            let message = Message {
                failed,
                stop,
                moment: "update 3".into(),
                body: vec![1, 2],
            };
            let read = Message::decode(&message.encode()).unwrap();
            assert_eq!((read.failed, read.stop), (failed, stop));
            assert_eq!((read.moment.as_str(), read.body), ("update 3", vec![1, 2]));
        }
        for bytes in [&[][..], &[0, 1, 0, 0], &[0, 9, 0, 0, 0, b'a']] {
            assert!(Message::decode(bytes).is_none());
        }
    }
}
