//! The models that a run writes, in the order of its phases.
use crate::graph::plan::{Plan, PlannedNode};
use std::collections::BTreeMap;
use std::path::Path;

/// A model that a node writes at the end of its phase, as a `T` describes it.
pub(super) struct WrittenModel<'a, T> {
    pub(super) node: &'a PlannedNode,
    /// What an earlier phase has written under the same name; `None` if the plan does not depend
    /// on that, or if that phase has not ended.
    pub(super) earlier: Option<T>,
    /// What this phase has written; `None` until it ends.
    pub(super) after: Option<T>,
}

/// Returns, by phase, the models that the run's nodes write.
///
/// `read` describes the model in a folder, or returns `None` if the folder holds none yet.
pub(super) fn written_models<'a, T: Clone>(
    plan: &'a Plan,
    run: &Path,
    read: impl Fn(&Path) -> Option<T>,
) -> Vec<Vec<WrittenModel<'a, T>>> {
    let mut written: BTreeMap<&str, T> = BTreeMap::new();
    let mut phases = vec![];
    for phase in &plan.phases {
        let folder = plan.folder(phase, run);
        let mut models = vec![];
        for node in phase
            .nodes
            .iter()
            .filter(|node| node.info.model().is_some())
        {
            let earlier = written.get(node.name()).cloned();
            let after = read(&folder.join(node.name()));
            if let Some(model) = &after {
                written.insert(node.name(), model.clone());
            }
            models.push(WrittenModel {
                node,
                earlier: earlier.filter(|_| node.info.estimated),
                after,
            });
        }
        phases.push(models);
    }
    phases
}
