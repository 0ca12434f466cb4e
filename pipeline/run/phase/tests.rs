use super::*;
use crate::graph::plan::PlannedNode;
use crate::graph::problem::Location;
use crate::graph::spec::NodeSpec;
use nodes::Result;
use nodes::node::port::{Shapes, Value};
use nodes::node::report::{Progress, Report};
use nodes::node::step::{Step, StepInfo};
use nodes::node::{
    Config, Node, NodeInfo, OptionError, PhaseOutputs, PlannedRows, SampledFrom, Source,
    SourceSettings,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A source that fails at its first step, or a node that waits for it.
#[derive(Clone)]
struct Fake {
    fails: Option<fn() -> Result<StepInfo>>,
    left: Arc<AtomicBool>,
}

impl Config for Fake {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        Ok(NodeInfo::default())
    }
    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(self.clone()))
    }
    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }
}

impl Source for Fake {
    fn settings(&self) -> SourceSettings {
        SourceSettings {
            manifest: String::new(),
            dev: None,
            seconds_per_batch: 1.0,
            views: 1,
            crops: false,
        }
    }
    fn planned_rows(&self) -> Result<Option<PlannedRows>> {
        Ok(None)
    }
    fn sample(
        &self,
        _: usize,
        _: &NodeContext,
        _: &mut dyn FnMut(StepInfo, Value) -> Result<()>,
    ) -> Result<SampledFrom> {
        Ok(SampledFrom {
            all: 0,
            has_more_views: false,
        })
    }
}

impl Node for Fake {
    fn next_step(&mut self) -> Result<StepInfo> {
        self.fails.map_or(Ok(StepInfo::default()), |fails| fails())
    }
    fn run(&mut self, _: &mut Step) -> Result<()> {
        Ok(())
    }
    fn leave(&mut self) -> Result<()> {
        self.left.store(true, Ordering::Relaxed);
        Err("only the first error is reported".into())
    }
}

struct Silence;
impl Report for Silence {
    fn update(&self, _: &str, _: Progress) {}
    fn say(&self, _: &str) {}
}

/// Runs a source that fails this way and a node that reads it; returns the run's error.
fn run_failing(fails: fn() -> Result<StepInfo>) -> String {
    let left = Arc::new(AtomicBool::new(false));
    let node = |name: &str, fails| {
        let config: Arc<dyn Config> = Arc::new(Fake {
            fails,
            left: left.clone(),
        });
        PlannedNode {
            spec: NodeSpec::empty(name, Location::Byte(0)),
            config,
            info: NodeInfo::default(),
            books: None,
            inputs: Shapes::new(),
        }
    };
    let phase = Phase {
        name: "main".into(),
        nodes: vec![node("source", Some(fails)), node("sink", None)],
        edges: vec![Edge {
            from: 0,
            out: "out",
            to: 1,
            port: "in",
            on_tape: false,
            tensors: false,
            within: false,
        }],
        stages: vec![vec![0], vec![1]],
        source: 0,
        optimizer: None,
    };
    let context = Arc::new(RunContext::alone(Arc::new(Silence)));
    let error = run(&phase, &context, None, &|_, _, _| ())
        .expect_err("a failure")
        .to_string();
    assert!(
        left.load(Ordering::Relaxed),
        "the other stage was not asked to leave"
    );
    error
}

#[test]
fn an_error_names_its_node() {
    assert_eq!(
        run_failing(|| Err("no more data".into())),
        "node `source`: no more data"
    );
}

#[test]
fn a_panic_is_an_error() {
    assert_eq!(
        run_failing(|| panic!("index {} out of bounds", 3)),
        "node `source`: panicked: index 3 out of bounds"
    );
}
