//! `report.html`: a run on one page that opens without a network, on a light and on a dark screen. Written after each phase
//! and at the end, from the plan, run.json, metrics.jsonl and the models that are there.
pub mod summary;
use crate::draw;
use crate::graph::plan::{Phase, Plan};
use crate::report::summary::{Summary, duration, short, thousands};
use models::Trained;
use nodes::chart::scale::number;
use nodes::chart::svg;
use nodes::chart::svg::escape;
use nodes::chart::{HEIGHT, WIDTH};
use nodes::chart::{charts, curves};
use serde_json::Value;
use std::path::Path;

mod bars;
mod head;
mod models;

/// `about` is what stands in run.json, `metrics` what stands in metrics.jsonl.
pub fn write(
    plan: &Plan,
    run: &Path,
    about: &Value,
    metrics: &[curves::PhaseCurves],
) -> nodes::Result<()> {
    nodes::data::file::write_atomic(
        &run.join("report.html"),
        page(plan, run, about, metrics).as_bytes(),
    )
}

fn page(plan: &Plan, run: &Path, about: &Value, curves: &[curves::PhaseCurves]) -> String {
    let (summaries, trained) = (summary::read(plan, run, curves), models::read(plan, run));
    let of = |phase: &Phase| curves.iter().find(|c| c.name == phase.name);
    let phases = plan.phases.iter().zip(&summaries).zip(&trained);
    let sections =
        phases.map(|((phase, summary), trained)| section(plan, phase, summary, trained, of(phase)));
    let meta = "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">";
    let style = [include_str!("report/page.css"), svg::STYLE].concat();
    [
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n{meta}\n<title>{}</title>\n",
            escape(&plan.name)
        ),
        format!("<style>\n{style}</style>\n</head>\n<body>\n"),
        head::head(plan, about),
        tiles(&summaries, &trained, curves),
        head::table(about),
        sections.collect(),
        format!(
            "<h2>Graph</h2>\n<div class=\"graph\">\n{}</div>\n",
            draw::svg::inline(plan)
        ),
        format!(
            "<details><summary>as it is run</summary><pre>{}</pre></details>\n",
            escape(&format!("{:#}", plan.resolved))
        ),
        "</body>\n</html>\n".to_owned(),
    ]
    .concat()
}

/// The run in a few numbers: what was known before it, and now.
fn tiles(
    summaries: &[Summary],
    trained: &[Vec<Trained>],
    curves: &[curves::PhaseCurves],
) -> String {
    let tile = |name: &str, value: String, more: String| {
        format!("<div class=\"tile\"><span>{name}</span><b>{value}</b><span>{more}</span></div>\n")
    };
    let mut tiles = String::new();
    let all = || trained.iter().flatten();
    let last = all().rfind(|m| m.after.is_some());
    if let Some((before, after)) = last.and_then(|l| {
        all()
            .find(|m| m.name == l.name)?
            .before
            .as_ref()
            .zip(l.after.as_ref())
    }) {
        let (before, after) = (models::counts(before), models::counts(after));
        for (name, i) in [("parameters", 0), ("multiply-accumulates", 1)] {
            tiles += &tile(
                name,
                arrow([before[i], after[i]].map(short)),
                format!("{} are left", percent(after[i], before[i])),
            );
        }
    }
    if let Some([reached, aim]) = summaries.iter().rev().find_map(|s| s.sparsity) {
        tiles += &tile(
            "expected sparsity",
            format!("{reached:.4}"),
            format!("aimed at {aim:.4}"),
        );
    }
    let ends = |of: fn(&Summary) -> Option<[f64; 2]>| {
        let found: Vec<[f64; 2]> = summaries.iter().filter_map(of).collect();
        found
            .first()
            .zip(found.last())
            .map(|(first, last)| [first[0], last[1]])
    };
    if let Some(distance) = ends(|s| s.l1_and_cosine_distance) {
        tiles += &tile(
            "dev L1 + 1 − cosine",
            arrow(distance.map(number)),
            "0: the student is its teacher".into(),
        );
    } else if let Some(loss) = ends(|s| s.dev_loss) {
        tiles += &tile(
            "dev loss",
            arrow(loss.map(number)),
            "before and after".into(),
        );
    }
    let updates: u64 = summaries.iter().map(|s| s.updates).sum();
    let seconds: f64 = summaries.iter().map(|s| s.seconds).sum();
    tiles += &tile(
        "time",
        duration(seconds),
        format!("{} updates, pauses included", thousands(updates)),
    );
    let speeds = curves
        .iter()
        .filter_map(|phase| phase.curves.get("audio_per_second"))
        .flatten();
    let mut speeds: Vec<f64> = speeds
        .map(|(_, speed)| *speed)
        .filter(|s| s.is_finite())
        .collect();
    speeds.sort_by(f64::total_cmp);
    if let Some(median) = speeds.get(speeds.len() / 2) {
        tiles += &tile(
            "audio a second",
            format!("{median:.1} s"),
            "median over the updates".into(),
        );
    }
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

fn section(
    plan: &Plan,
    phase: &Phase,
    summary: &Summary,
    trained: &[Trained],
    curves: Option<&curves::PhaseCurves>,
) -> String {
    let name = if plan.phased {
        escape(&phase.name)
    } else {
        "Training".into()
    };
    let Some(curves) = curves else {
        let why = if phase.optimizer.is_some() {
            "Not begun."
        } else {
            "Nothing is trained here, so nothing is measured."
        };
        return format!("<h2>{name}</h2>\n<p class=\"faint\">{why}</p>\n");
    };
    let mut info = vec![format!(
        "{} updates in {}",
        thousands(summary.updates),
        duration(summary.seconds)
    )];
    info.extend(
        summary
            .dev_loss
            .map(|loss| format!("dev loss {}", arrow(loss.map(|l| format!("{l:.4}"))))),
    );
    info.extend(
        summary
            .sparsity
            .map(|[is, aim]| format!("sparsity {is:.4} of {aim:.4}")),
    );
    let charts = charts::all(curves).into_iter().map(|c| card(&c.draw()));
    let (rows, bars): (String, String) = trained
        .iter()
        .map(|m| (row(m), m.bars().iter().map(|b| card(b)).collect::<String>()))
        .unzip();
    let mut html = format!(
        "<h2>{name}</h2>\n<p class=\"faint\">{}</p>\n",
        info.join(" · ")
    );
    html += &format!(
        "<div class=\"grid\">\n{}</div>\n",
        charts.collect::<String>()
    );
    if !rows.is_empty() {
        let head = "<tr><th>model</th><th class=\"number\">parameters</th><th class=\"number\">multiply-accumulates</th><th class=\"number\">parameters left</th></tr>";
        html += &format!("<table>\n{head}\n{rows}</table>\n<div class=\"grid\">\n{bars}</div>\n");
    }
    html
}

fn card(drawing: &str) -> String {
    format!(
        "<div class=\"card\">{}</div>\n",
        svg::inline(WIDTH, HEIGHT, drawing)
    )
}

/// A model before and after its phase; nothing where it was not written or is as large as before.
fn row(model: &Trained) -> String {
    let Some((before, after)) = model.before.as_ref().zip(model.after.as_ref()) else {
        return String::new();
    };
    let (before, after) = (models::counts(before), models::counts(after));
    if before == after {
        return String::new();
    }
    let both = |i: usize, of: fn(u64) -> String| arrow([before[i], after[i]].map(of));
    let cells = [
        both(0, thousands),
        both(1, short),
        percent(after[0], before[0]),
    ];
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td class=\"number\">{cell}</td>"))
        .collect();
    format!("<tr><td>{}</td>{cells}</tr>\n", escape(&model.name))
}

fn arrow([before, after]: [String; 2]) -> String {
    format!("{before} → {after}")
}

fn percent(part: u64, all: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / all.max(1) as f64)
}
