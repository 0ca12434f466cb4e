use super::*;
use crate::graph::problem::Location;

const TAPE: Connection = Connection {
    output: "out",
    input: "in",
    on_tape: true,
    tensors: false,
};
const BATCH: Connection = Connection {
    on_tape: false,
    ..TAPE
};
const TENSORS: Connection = Connection {
    tensors: true,
    ..BATCH
};

/// Builds a phase of nodes `a`, `b`, ... at the bytes 0, 1, ..., with these edges.
fn phase(nodes: usize, edges: &[(usize, usize, Connection)]) -> (PhaseSpec, EdgeGraph) {
    let mut specs = vec![];
    let mut edge_graph = EdgeGraph::new();
    for i in 0..nodes {
        let name = char::from(b'a' + i as u8).to_string();
        specs.push(NodeSpec::empty(&name, Location::Byte(i)));
        edge_graph.add_node(());
    }
    for (from, to, connection) in edges {
        edge_graph.add_edge(NodeIndex::new(*from), NodeIndex::new(*to), *connection);
    }
    let phase = PhaseSpec {
        name: "main".into(),
        location: Location::Byte(0),
        nodes: specs,
    };
    (phase, edge_graph)
}

fn messages(problems: &Problems) -> Vec<&str> {
    problems.iter().map(|p| p.message.as_str()).collect()
}

#[test]
fn nodes_on_a_cycle_are_named_and_left_out() {
    let edges = [
        (0, 1, BATCH),
        (1, 2, TAPE),
        (2, 1, TAPE),
        (2, 3, TAPE),
        (4, 4, TAPE),
    ];
    let (phase, edge_graph) = phase(5, &edges);
    let mut problems = Problems::default();
    let mut order = topological_order(&edge_graph, &phase, &mut problems);
    order.sort();
    assert_eq!(order, [0, 3]);
    let mut messages = messages(&problems);
    messages.sort();
    assert_eq!(
        messages,
        [
            "node `e` waits for itself",
            "nodes `b`, `c` wait for each other"
        ]
    );
}

#[test]
fn a_stage_that_waits_for_its_own_output_is_a_problem() {
    let edges = [(0, 1, TAPE), (0, 2, BATCH), (2, 1, BATCH), (3, 0, BATCH)];
    let (phase, edge_graph) = phase(4, &edges);
    let stage_of = assign(&edge_graph, &phase);
    assert_eq!(stage_of[0], stage_of[1]);
    assert_ne!(stage_of[0], stage_of[2]);
    assert_ne!(stage_of[2], stage_of[3]);
    let mut problems = Problems::default();
    let order = topological_order(&edge_graph, &phase, &mut problems);
    assert_eq!(order, [3, 0, 2, 1]);
    check_cycles(&edge_graph, &stage_of, &phase, &mut problems);
    assert_eq!(
        messages(&problems),
        ["the stages of nodes `a`, `b`, `c` wait for each other"]
    );
}

#[test]
fn the_optimizer_is_last_unless_its_stage_waits_for_it() {
    let listed = |edges: &[(usize, usize, Connection)]| {
        let (phase, edge_graph) = phase(4, edges);
        let stage_of = assign(&edge_graph, &phase);
        list(&edge_graph, &[0, 1, 2, 3], &stage_of, 0, Some(2))
    };
    let edges = [(0, 1, BATCH), (1, 2, TAPE), (1, 3, TAPE)];
    assert_eq!(listed(&edges), [vec![0], vec![1, 3, 2]]);
    let waits = [(0, 1, BATCH), (1, 2, TAPE), (1, 3, TAPE), (2, 3, BATCH)];
    assert_eq!(listed(&waits), [vec![0], vec![1, 2, 3]]);
}

#[test]
fn stages_are_numbered_by_the_way_to_them() {
    // A student `a` that needs the teacher `c`, whose source is `d`, and a log `b`.
    let edges = [(3, 0, BATCH), (3, 2, BATCH), (2, 0, BATCH), (0, 1, BATCH)];
    let (phase, edge_graph) = phase(4, &edges);
    let stage_of = assign(&edge_graph, &phase);
    for order in [[3, 2, 0, 1], [3, 0, 2, 1]] {
        let stages = list(&edge_graph, &order, &stage_of, 3, None);
        assert_eq!(stages, [vec![3], vec![2], vec![0], vec![1]]);
    }
}

/// A teacher `a`; losses `b` and `c` in one stage, `d` in another.
#[test]
fn a_teacher_joins_the_stage_that_reads_its_tensors() {
    let joins = |readers: &[(usize, Connection)], cache: Option<&str>| {
        let mut edges = vec![(1, 2, TAPE)];
        for (to, connection) in readers {
            edges.push((0, *to, *connection));
        }
        let (mut phase, edge_graph) = phase(4, &edges);
        phase.nodes[0].cache = cache.map(str::to_owned);
        let stage_of = assign(&edge_graph, &phase);
        stage_of[0] == stage_of[1]
    };
    assert!(joins(&[(1, TENSORS)], None));
    assert!(joins(&[(1, TENSORS), (2, TENSORS)], None));
    assert!(!joins(&[(1, TENSORS)], Some("cache")));
    assert!(!joins(&[(1, BATCH)], None));
    assert!(!joins(&[], None));
    assert!(!joins(&[(1, TENSORS), (2, BATCH)], None));
    assert!(!joins(&[(1, TENSORS), (3, TENSORS)], None));
}
