//! A section for each phase: what it did, its curves, and what it left of its models.
use super::format::{change, duration, percent, short, thousands};
use super::models::{ModelChange, ModelSize};
use super::summary::Summary;
use crate::graph::plan::{Phase, Plan};
use nodes::chart::svg;
use nodes::chart::svg::escape;
use nodes::chart::{HEIGHT, WIDTH};
use nodes::chart::{charts, curves};

/// Returns the section of a phase; `curves` is `None` if the phase has no metrics.
pub(super) fn section(
    plan: &Plan,
    phase: &Phase,
    summary: &Summary,
    models: &[ModelChange],
    curves: Option<&curves::PhaseCurves>,
) -> String {
    let name = if plan.phased {
        escape(&phase.name)
    } else {
        "Training".into()
    };
    let Some(curves) = curves else {
        let reason = if phase.optimizer.is_some() {
            "Not begun."
        } else {
            "Nothing is trained here, so nothing is measured."
        };
        return format!("<h2>{name}</h2>\n<p class=\"faint\">{reason}</p>\n");
    };
    let facts = facts(summary);
    let charts: String = charts::all(curves)
        .iter()
        .map(|chart| card(&chart.draw()))
        .collect();
    let mut html = format!("<h2>{name}</h2>\n<p class=\"faint\">{facts}</p>\n");
    html += &format!("<div class=\"grid\">\n{charts}</div>\n");
    html += &models_table(models);
    html
}

/// Returns the line under the title: updates, time, dev loss, sparsity.
fn facts(summary: &Summary) -> String {
    let updates = thousands(summary.updates);
    let mut facts = vec![format!(
        "{updates} updates in {}",
        duration(summary.seconds)
    )];
    if let Some([before, after]) = summary.dev_loss {
        let loss = change(&format!("{before:.4}"), &format!("{after:.4}"));
        facts.push(format!("dev loss {loss}"));
    }
    if let Some([expected, target]) = summary.sparsity {
        facts.push(format!("sparsity {expected:.4} of {target:.4}"));
    }
    facts.join(" · ")
}

/// Returns the table of the models whose size has changed and their bars; empty if none has.
fn models_table(models: &[ModelChange]) -> String {
    let mut rows = String::new();
    let mut bars = String::new();
    for model in models {
        rows += &model_row(model);
        for drawing in model.bars() {
            bars += &card(&drawing);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut head = "<tr><th>model</th>".to_owned();
    for column in ["parameters", "multiply-accumulates", "parameters left"] {
        head += &format!("<th class=\"number\">{column}</th>");
    }
    head += "</tr>";
    format!("<table>\n{head}\n{rows}</table>\n<div class=\"grid\">\n{bars}</div>\n")
}

/// Returns the row of a model before and after its phase; empty if the phase has not written it or
/// has not changed its size.
fn model_row(model: &ModelChange) -> String {
    let (Some(before), Some(after)) = (&model.before, &model.after) else {
        return String::new();
    };
    let before = ModelSize::new(before);
    let after = ModelSize::new(after);
    if before == after {
        return String::new();
    }
    let name = escape(&model.name);
    let cells = [
        change(&thousands(before.parameters), &thousands(after.parameters)),
        change(&short(before.macs), &short(after.macs)),
        percent(after.parameters, before.parameters),
    ];
    let cells = cells
        .map(|cell| format!("<td class=\"number\">{cell}</td>"))
        .concat();
    format!("<tr><td>{name}</td>{cells}</tr>\n")
}

fn card(drawing: &str) -> String {
    let drawing = svg::inline(WIDTH, HEIGHT, drawing);
    format!("<div class=\"card\">{drawing}</div>\n")
}
