//! What a node would receive, from batches that the source of its phase samples.
use crate::graph::plan::Phase;
use crate::run::phase::node_context;
use compute::tensor::Tape;
use nodes::Result;
use nodes::node::port::Value;
use nodes::node::step::{Step, StepInfo};
use nodes::node::{Node, NodeContext, RunContext, SampledFrom};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// A node between the source and the node that is asked about.
struct Between {
    context: NodeContext,
    node: Box<dyn Node>,
}

/// Samples about `rows` rows of what the node at index `node` receives in a run, in whole batches,
/// and passes the values of its input ports to `visit`.
///
/// # Errors
/// A manifest or a node between the source and this one fails.
pub fn inputs(
    phase: &Phase,
    run: &Arc<RunContext>,
    node: usize,
    rows: usize,
    visit: &mut dyn FnMut(HashMap<&'static str, Value>) -> Result<()>,
) -> Result<SampledFrom> {
    let context = node_context(phase, run, phase.source);
    let mut senders = HashMap::new();
    let source = phase.source();
    source.sample(rows, &context, &mut |info, speech| {
        let mut inputs = HashMap::new();
        for edge in phase.edges.iter().filter(|edge| edge.to == node) {
            let output = (edge.from, edge.out);
            let value = value_of(phase, run, output, info, &speech, &mut senders)?;
            inputs.insert(edge.port, value);
        }
        visit(inputs)
    })
}

/// Computes what an output port sends for a batch of the source.
fn value_of(
    phase: &Phase,
    run: &Arc<RunContext>,
    (node, port): (usize, &'static str),
    info: StepInfo,
    speech: &Value,
    between: &mut HashMap<usize, Between>,
) -> Result<Value> {
    if node == phase.source {
        return Ok(speech.clone());
    }
    let mut inputs: HashMap<String, Vec<Value>> = HashMap::new();
    for edge in phase.edges.iter().filter(|edge| edge.to == node) {
        let output = (edge.from, edge.out);
        let value = value_of(phase, run, output, info, speech, between)?;
        inputs.entry(edge.port.to_owned()).or_default().push(value);
    }
    let name = phase.nodes[node].name();
    let member = match between.entry(node) {
        Entry::Occupied(built) => built.into_mut(),
        Entry::Vacant(vacant) => {
            let context = node_context(phase, run, node);
            let node = phase.nodes[node].config.build(&context)?;
            vacant.insert(Between { context, node })
        }
    };
    let mut step = Step::new(info, &member.context, Tape::default(), inputs, &mut []);
    member.node.run(&mut step)?;
    let sent = step.into_outputs().remove(port);
    sent.ok_or_else(|| format!("node `{name}` sent nothing on `{port}`").into())
}
