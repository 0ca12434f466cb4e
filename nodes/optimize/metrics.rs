//! metrics.jsonl: one value a line. `optimize` writes it in the thread that writes the checkpoint, so that the lines of a
//! checkpoint's updates are always there before it.
use crate::{Result, file, node::Place, step::Step};
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Metrics(File);

impl Metrics {
    /// Opens the file to append, cut before the first line that this run will write again: an update after the one to go
    /// on from, or a dev pass measured at it.
    pub fn open(place: &Place) -> Result<Metrics> {
        let path = place.run.join("metrics.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let again = |line: &Json| {
            let (step, from) = (line["step"].as_u64().unwrap_or(u64::MAX), place.clock.from);
            let dev = line["name"].as_str().is_some_and(|n| n.starts_with("dev/"));
            line["phase"] == *place.phase && (step > from || step == from && dev)
        };
        let stays = |line: &&str| serde_json::from_str::<Json>(line).is_ok_and(|line| !again(&line));
        let kept: String = text.lines().take_while(stays).map(|line| format!("{line}\n")).collect();
        if kept != text || !path.exists() {
            file::whole(&path, kept.as_bytes())?;
        }
        let file = File::options().append(true).open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Metrics(file))
    }

    pub fn write(&mut self, step: &Step, values: &[(String, f32)]) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let head = &step.head;
        let line = |(name, value): &(String, f32)| {
            let value = value.is_finite().then_some(*value as f64);
            let line = json!({ "phase": step.place.phase, "step": head.update, "epoch": head.epoch, "wall_time": now, "name": name, "value": value });
            format!("{line}\n")
        };
        Ok(self.0.write_all(values.iter().map(line).collect::<String>().as_bytes())?)
    }

    pub fn sync(&self) -> Result<()> {
        Ok(self.0.sync_data()?)
    }
}
