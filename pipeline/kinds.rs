//! `pipeline nodes [KIND]`
use crate::{Failure, Outcome, print};
use nodes::KINDS;
use nodes::near::near;
use nodes::port::Port;
use pipeline::{options, wires};

#[derive(clap::Args)]
pub struct Arguments {
    /// One kind, to see its ports
    kind: Option<String>,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let Some(kind) = self.kind else {
            return print(&KINDS.iter().map(|(kind, _)| format!("{kind}\n")).collect::<String>());
        };
        let Some((_, parse)) = KINDS.iter().find(|(k, _)| *k == kind) else {
            return Err(Failure::Usage(format!("no kind `{kind}`{}", near(&kind, KINDS.iter().map(|k| k.0)))));
        };
        let ports = options::any(*parse).ok_or_else(|| format!("`{kind}` does not tell its ports"))?.ports();
        let line = |way: &str, port: &Port| {
            let many = if port.many { ", many" } else { "" };
            let optional = if port.optional { ", optional" } else { "" };
            format!("{way} {}: {}{many}{optional}\n", port.name, wires::what(port.carries))
        };
        let inputs = ports.inputs.iter().map(|p| line("input", p));
        print(&inputs.chain(ports.outputs.iter().map(|p| line("output", p))).collect::<String>())
    }
}
