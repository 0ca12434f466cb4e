//! Which charts a phase's curves make: what belongs together on one, the rest each on its own.
use super::curves::{Phase, Points};
use crate::chart::svg;
use crate::chart::{Chart, HEIGHT, Line, WIDTH};
use std::collections::BTreeMap;

/// Drawn by [`loss`] and [`sparsity`], the loss again, or how long a batch happened to be.
const ELSEWHERE: &[&str] = &[
    "loss",
    "loss_distill",
    "sparsity_expected",
    "sparsity_target",
    "audio_seconds",
];
/// Names in other words.
const TITLES: &[(&str, &str)] = &[
    ("audio_per_second", "audio, seconds a second"),
    ("grad_norm", "gradient norm"),
    ("loss_reg", "penalty"),
];

/// What is minimised but for the penalty, and the dev set's.
pub fn loss(phase: &Phase) -> Option<Chart> {
    let penalty: BTreeMap<u64, f64> = phase
        .curves
        .get("loss_reg")
        .into_iter()
        .flatten()
        .copied()
        .collect();
    let without =
        |&(update, loss): &(u64, f64)| (update, loss - penalty.get(&update).unwrap_or(&0.0));
    let train: Points = phase.curves.get("loss")?.iter().map(without).collect();
    let mut lines = vec![Line {
        name: "train".into(),
        points: train,
        dots: false,
        color: 0,
    }];
    let dev = phase.curves.get("dev/loss").cloned();
    lines.extend(dev.map(|points| Line {
        name: "dev".into(),
        points,
        dots: true,
        color: 1,
    }));
    Some(Chart {
        title: "loss".into(),
        lines,
        range: None,
    })
}

/// Expected and aimed at, where something is pruned.
pub fn sparsity(phase: &Phase) -> Option<Chart> {
    let line = |(color, name): (usize, &str)| {
        let points = phase.curves.get(&format!("sparsity_{name}"))?.clone();
        Some(Line {
            name: name.into(),
            points,
            dots: false,
            color,
        })
    };
    let lines: Vec<Line> = ["expected", "target"]
        .into_iter()
        .enumerate()
        .filter_map(line)
        .collect();
    (!lines.is_empty()).then(|| Chart {
        title: "sparsity".into(),
        lines,
        range: Some([0.0, 1.0]),
    })
}

/// Loss and sparsity, the loss's terms where there are several, rates, and the rest.
pub fn all(phase: &Phase) -> Vec<Chart> {
    let of_train = |name: &&str| !name.starts_with("dev/") && !ELSEWHERE.contains(name);
    let names = phase.curves.keys().map(String::as_str).filter(of_train);
    let (terms, rest): (Vec<&str>, Vec<&str>) = names
        .filter(|n| !n.starts_with(RATE))
        .partition(|n| n.contains("loss_") && *n != "loss_reg");
    let terms = if terms.len() > 1 { terms } else { vec![] };
    let [terms, rest] = [terms, rest].map(|names| names.into_iter().map(|name| alone(phase, name)));
    loss(phase)
        .into_iter()
        .chain(sparsity(phase))
        .chain(terms)
        .chain(rates(phase))
        .chain(rest)
        .collect()
}

/// The dev set's values as dots.
fn alone(phase: &Phase, name: &str) -> Chart {
    let line = |(color, name): (usize, &String)| {
        let points = phase.curves.get(name)?.clone();
        Some(Line {
            name: String::new(),
            points,
            dots: color == 1,
            color,
        })
    };
    let lines = [name.to_owned(), format!("dev/{name}")]
        .iter()
        .enumerate()
        .filter_map(line)
        .collect();
    let title = TITLES
        .iter()
        .find(|(of, _)| *of == name)
        .map_or(name, |(_, title)| title);
    Chart {
        title: title.into(),
        lines,
        range: None,
    }
}

const RATE: &str = "rate/";

/// Nodes whose rates are equal share a chart.
fn rates(phase: &Phase) -> Vec<Chart> {
    let mut alike: Vec<(&Points, Vec<&str>)> = vec![];
    for (name, points) in &phase.curves {
        let Some(node) = name.strip_prefix(RATE) else {
            continue;
        };
        match alike.iter_mut().find(|(others, _)| *others == points) {
            Some((_, nodes)) => nodes.push(node),
            None => alike.push((points, vec![node])),
        }
    }
    let chart = |(points, nodes): (&Points, Vec<&str>)| {
        let line = Line {
            name: String::new(),
            points: points.clone(),
            dots: false,
            color: 0,
        };
        Chart {
            title: format!("learning rate of {}", nodes.join(", ")),
            lines: vec![line],
            range: None,
        }
    };
    alike.into_iter().map(chart).collect()
}

/// `loss.svg`: a column for each phase; its losses, and its sparsity below.
pub fn losses(phases: &[Phase]) -> String {
    const TITLE: f64 = 28.0;
    let rows = if phases.iter().any(|p| sparsity(p).is_some()) {
        2.0
    } else {
        1.0
    };
    let mut drawing = String::new();
    for (phase, x) in phases.iter().zip((0..).map(|i| i as f64 * WIDTH)) {
        drawing += &format!(
            "<text class=\"title\" x=\"{}\" y=\"20\">{}</text>\n",
            x + 8.0,
            svg::escape(&phase.name)
        );
        for (chart, row) in [loss(phase), sparsity(phase)].into_iter().zip([0.0, 1.0]) {
            let chart = chart.map(|c| c.draw()).unwrap_or_default();
            drawing += &format!(
                "<g transform=\"translate({x} {})\">\n{chart}</g>\n",
                TITLE + row * HEIGHT
            );
        }
    }
    svg::file(
        WIDTH * phases.len().max(1) as f64,
        TITLE + rows * HEIGHT,
        &drawing,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::curves::read;

    #[test]
    fn empty_and_odd_metrics_draw_something() {
        let line = |value: &str| {
            format!(
                "{{\"phase\": \"main\", \"step\": 1, \"wall_time\": 0, \"name\": \"loss\", \"value\": {value}}}"
            )
        };
        for text in ["", "{", &line("null"), &line("0.5"), &line("1e300")] {
            let svg = losses(&read(text));
            assert!(
                svg.starts_with("<svg") && !svg.contains("NaN") && !svg.contains("inf"),
                "{text}: {svg}"
            );
        }
    }

    #[test]
    fn every_name_is_drawn_once() {
        let names = "loss loss_reg dev/loss loss_l1 loss_cos dev/loss_cos rate/a rate/b rate/c accuracy dev/accuracy";
        let points = |name: &str| vec![(1, if name == "rate/b" { 2.0 } else { 1.0 })];
        let curves = names
            .split(' ')
            .map(|name| (name.to_owned(), points(name)))
            .collect();
        let charts = all(&Phase {
            curves,
            ..Phase::default()
        });
        let said: Vec<(&str, usize)> = charts
            .iter()
            .map(|c| (c.title.as_str(), c.lines.len()))
            .collect();
        let [a, b] = ["learning rate of a, c", "learning rate of b"];
        assert_eq!(
            said,
            [
                ("loss", 2),
                ("loss_cos", 2),
                ("loss_l1", 1),
                (a, 1),
                (b, 1),
                ("accuracy", 2),
                ("penalty", 1)
            ]
        );
    }

    #[test]
    fn the_loss_is_drawn_without_its_penalty() {
        let curves = [("loss", 0.75), ("loss_reg", 0.5)]
            .map(|(name, v)| (name.to_owned(), vec![(3, v)]))
            .into();
        let chart = loss(&Phase {
            curves,
            ..Phase::default()
        })
        .expect("a loss");
        assert_eq!(chart.lines[0].points, [(3, 0.25)]);
    }
}
