//! A summary as text, for the end of a run.
use super::summary::Summary;
use crate::format::{duration, loss_text, percent, thousands};
use std::fmt;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let phase = &self.phase;
        let time = duration(self.seconds);
        match self.updates {
            0 => write!(f, "phase `{phase}`: done")?,
            1 => write!(f, "phase `{phase}`: 1 update in {time}")?,
            updates => write!(
                f,
                "phase `{phase}`: {} updates in {time}",
                thousands(updates)
            )?,
        }
        for (node, counts) in &self.parameters {
            write!(f, "\n  {node:8} {}", self.size(*counts))?;
        }
        if let Some([expected, target]) = self.sparsity {
            write!(f, "\n  sparsity {expected:.4} expected, ")?;
            if let Some(written) = self.written_sparsity {
                write!(f, "{written:.4} written, ")?;
            }
            write!(f, "aimed at {target:.4}")?;
        }
        if let Some([before, after]) = self.dev_loss {
            write!(
                f,
                "\n  dev loss {} -> {}",
                loss_text(before),
                loss_text(after)
            )?;
        }
        if let Some([before, after]) = self.l1_and_cosine_distance {
            let label = self.distance_label.unwrap_or("distance");
            write!(
                f,
                "\n  dev {label} {} -> {}",
                loss_text(before),
                loss_text(after)
            )?;
            if before > 0.0 && after.is_finite() {
                write!(f, ", {:.2} of it", after / before)?;
            }
        }
        Ok(())
    }
}

impl Summary {
    /// Describes the parameters of a model before and after the phase, beside those of its teacher.
    fn size(&self, [before, after]: [Option<u64>; 2]) -> String {
        let Some(after) = after else {
            return "not written".into();
        };
        let mut text = format!("{} parameters", thousands(after));
        if let Some(teacher) = self.teacher_parameters {
            let share = percent(after, teacher);
            text += &format!(", {share} of the teacher's {}", thousands(teacher));
        } else if let Some(before) = before.filter(|before| *before != after) {
            let share = percent(after, before);
            text += &format!(", {share} of the {} before", thousands(before));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodes::chart::curves;
    use serde_json::json;
    use std::collections::BTreeMap;

    /// The last finite loss of a student that diverged is not what it ended with.
    #[test]
    fn a_loss_that_is_not_finite_is_said() {
        let line = |step: u64, value: &str| {
            format!(
                r#"{{"phase":"p","step":{step},"epoch":1,"wall_time":1,"name":"dev/loss","value":{value}}}"#
            )
        };
        let text = [line(0, "2.5"), line(5, "2.25"), line(7, "null")].join("\n");
        let summary = Summary::new("p", &curves::read(&text), BTreeMap::new(), None);
        let said = summary.to_string();
        assert!(said.contains("dev loss 2.5000 -> not finite"), "{said}");
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["dev_loss"], json!([2.5, null]));
        assert_eq!(json["dev_losses"], json!({ "loss": null }));
    }

    #[test]
    fn a_model_is_compared_with_its_teacher() {
        let mut summary = Summary::new("p", &[], BTreeMap::new(), None);
        let unchanged = [Some(1_060_180); 2];
        assert_eq!(summary.size(unchanged), "1,060,180 parameters");
        let before = [Some(2_000_000), Some(1_000_000)];
        assert_eq!(
            summary.size(before),
            "1,000,000 parameters, 50.0 % of the 2,000,000 before"
        );
        summary.teacher_parameters = Some(4_495_296);
        assert_eq!(
            summary.size(unchanged),
            "1,060,180 parameters, 23.6 % of the teacher's 4,495,296"
        );
        assert_eq!(summary.size([None, None]), "not written");
    }
}
