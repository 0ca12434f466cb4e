//! Reads a pipe. Nothing says that its other end will ever be opened or written to, so it is read
//! in a thread, for which the reader waits a limited time.
use super::too_long;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(10);

const CHUNK_BYTES: usize = 64 << 10;

/// Reads a pipe to its end.
///
/// # Errors
/// It cannot be read, has more than `limit` bytes, or nothing comes for ten seconds.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (sender, receiver) = sync_channel(4);
    let pipe = path.to_owned();
    thread::Builder::new().spawn(move || {
        if let Err(error) = send_chunks(&pipe, &sender) {
            let _ = sender.send(Err(error));
        }
    })?;
    let mut bytes = vec![];
    loop {
        match receiver.recv_timeout(PATIENCE) {
            Ok(chunk) => bytes.extend(chunk?),
            Err(RecvTimeoutError::Disconnected) => return Ok(bytes),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = PATIENCE.as_secs();
                let message = format!("nothing came through this pipe for {seconds} seconds");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
        if bytes.len() as u64 > limit {
            return Err(too_long(limit));
        }
    }
}

fn send_chunks(pipe: &Path, sender: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut file = File::open(pipe)?;
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = file.read(&mut chunk)?;
        chunk.truncate(length);
        if length == 0 || sender.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}
