//! `loss.svg`: the losses of every phase over its updates, side by side on one scale, dev set as dots; below, the
//! sparsity expected and aimed at, where something was pruned.
use crate::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value as Json;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Update and value.
type Points = Vec<(f64, f64)>;

const TRAIN: RGBColor = RGBColor(46, 110, 178);
const DEV: RGBColor = RGBColor(214, 106, 31);
const AIM: RGBColor = RGBColor(150, 150, 150);
const INK: RGBColor = RGBColor(70, 70, 70);

struct Phase {
    name: String,
    train: Points,
    dev: Points,
    sparsity: Points,
    target: Points,
}

pub fn loss(metrics: &str, every: u64) -> Result<String> {
    let phases = read(metrics, every);
    let pruned = phases.iter().any(|p| !p.sparsity.is_empty());
    let (width, height) = (60 + 420 * phases.len().max(1) as u32, if pruned { 520 } else { 320 });
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let (upper, lower) = root.split_vertically(320);
        let losses = |p: &Phase| p.train.iter().chain(&p.dev).map(|p| p.1).collect::<Vec<_>>();
        let range = around(phases.iter().flat_map(losses));
        for (area, phase) in upper.split_evenly((1, phases.len().max(1))).iter().zip(&phases) {
            let title = format!("{}: loss", phase.name);
            chart(
                area,
                &title,
                phase,
                range.clone(),
                &[(&phase.train, TRAIN, "train")],
                Some(&phase.dev),
                SeriesLabelPosition::UpperRight,
            )?;
        }
        for (area, phase) in lower.split_evenly((1, phases.len().max(1))).iter().zip(&phases) {
            if !phase.sparsity.is_empty() {
                let lines = [(&phase.target, AIM, "target"), (&phase.sparsity, TRAIN, "expected")];
                chart(
                    area,
                    &format!("{}: sparsity", phase.name),
                    phase,
                    0.0..1.0,
                    &lines,
                    None,
                    SeriesLabelPosition::LowerRight,
                )?;
            }
        }
        root.present()?;
    }
    Ok(svg)
}

fn chart(
    area: &Area,
    title: &str,
    phase: &Phase,
    range: std::ops::Range<f64>,
    lines: &[(&Points, RGBColor, &str)],
    dots: Option<&Points>,
    legend: SeriesLabelPosition,
) -> Result<()> {
    let updates = phase.train.iter().chain(&phase.dev).map(|p| p.0).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..updates, range)?;
    chart
        .configure_mesh()
        .x_desc("update")
        .x_labels(6)
        .y_labels(6)
        .axis_style(INK.mix(0.6))
        .bold_line_style(INK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    for &(points, color, label) in lines {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
    }
    if let Some(points) = dots.filter(|p| !p.is_empty()) {
        chart
            .draw_series(points.iter().map(|p| Circle::new(*p, 4, DEV.filled())))?
            .label("dev")
            .legend(|(x, y)| Circle::new((x + 7, y), 4, DEV.filled()));
    }
    chart
        .configure_series_labels()
        .position(legend)
        .border_style(TRANSPARENT)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 12).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// A little more than all values, and something where there are none.
fn around(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let margin = ((high - low) * 0.05).max(1e-3);
    low - margin..high + margin
}

/// The losses without their penalty.
fn read(metrics: &str, every: u64) -> Vec<Phase> {
    let mut phases: Vec<Phase> = vec![];
    for line in metrics.lines().filter_map(|l| serde_json::from_str::<Json>(l).ok()) {
        let (Some(name), Some(step), Some(value)) =
            (line["name"].as_str(), line["step"].as_u64(), line["value"].as_f64())
        else {
            continue;
        };
        let of = line["phase"].as_str().unwrap_or_default();
        if phases.last().is_none_or(|p| p.name != of) {
            phases.push(Phase { name: of.into(), train: vec![], dev: vec![], sparsity: vec![], target: vec![] });
        }
        let Some(phase) = phases.last_mut() else { continue };
        let points = match name {
            "loss" => &mut phase.train,
            "loss_reg" => {
                // It stands behind its update's `loss`.
                phase.train.last_mut().filter(|p| p.0 == step as f64).into_iter().for_each(|p| p.1 -= value);
                continue;
            }
            "dev/loss" => &mut phase.dev,
            "sparsity_expected" => &mut phase.sparsity,
            "sparsity_target" => &mut phase.target,
            _ => continue,
        };
        if name.starts_with("dev/") || step.is_multiple_of(every) {
            points.push((step as f64, value));
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    #[test]
    fn empty_and_odd_metrics_draw_something() {
        let line = r#"{"phase": "main", "step": 1, "name": "loss", "value": null}"#;
        let one = r#"{"phase": "main", "step": 1, "name": "loss", "value": 0.5}"#;
        for text in ["", "{", line, one] {
            assert!(super::loss(text, 1).expect(text).starts_with("<svg"));
        }
    }
}
