//! The ranks of a command: one process, or those that `mpirun` or `srun` has started.
use crate::ending::{CommandError, Ending, FAILED};
#[cfg(feature = "mpi")]
use crate::mpi_transport;
use crate::terminal;
use compute::ranks::Ranks;
use nodes::node::report::{Progress, Report};
use std::sync::{Arc, OnceLock};

/// The ranks that this process has joined.
static JOINED: OnceLock<Arc<Ranks>> = OnceLock::new();

/// Joins the ranks that were started together with this process; without any it is alone.
///
/// # Errors
/// There are others, and this build cannot reach them.
pub(crate) fn join() -> Result<Arc<Ranks>, CommandError> {
    #[cfg(feature = "mpi")]
    let ranks = mpi_transport::start()?.map_or_else(Ranks::alone, |t| Ranks::new(Box::new(t)));
    #[cfg(not(feature = "mpi"))]
    let ranks = alone()?;
    Ok(JOINED.get_or_init(|| Arc::new(ranks)).clone())
}

/// Returns the ranks of a build without MPI.
#[cfg(not(feature = "mpi"))]
fn alone() -> Result<Ranks, CommandError> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let started = number("OMPI_COMM_WORLD_SIZE").or(number("PMI_SIZE"));
    let of_slurm = number("PMIX_RANK").and(number("SLURM_STEP_NUM_TASKS")); // by `srun --mpi=pmix`
    let started = started.or(of_slurm);
    let rank = number("OMPI_COMM_WORLD_RANK").or(number("PMI_RANK"));
    let rank = rank.or(number("PMIX_RANK"));
    match started {
        Some(count) if count > 1 => Err(CommandError::Usage(match rank {
            Some(rank) if rank > 0 => String::new(), // said by the first
            _ => format!(
                "{count} processes were started together, and this build cannot share a run among \
                 them; docs/cluster.md says how to build one that can"
            ),
        })),
        _ => Ok(Ranks::alone()),
    }
}

/// Returns how many ranks with lower numbers there are on this host.
#[cfg(feature = "cuda")]
pub(crate) fn number_on_host() -> usize {
    #[cfg(feature = "mpi")]
    return mpi_transport::number_on_host();
    #[cfg(not(feature = "mpi"))]
    0
}

/// Tells all ranks how this one ends, and returns how the process ends. Of several ranks the first has
/// what all of them have to say, and the others have nothing to say.
pub(crate) fn part(own: Ending) -> Ending {
    let Some(ranks) = joined_others() else {
        return own;
    };
    let own = agree(ranks, own);
    let message = serde_json::to_vec(&own).unwrap_or_default();
    let endings = ranks.part(&message).into_iter();
    let endings: Vec<Ending> = endings
        .map(|ending| serde_json::from_slice(&ending).unwrap_or_default())
        .collect();
    let mut ending = merged(&endings);
    if !ranks.is_first() {
        ending.message.clear();
    }
    ending
}

/// Ends MPI, if this process has joined others. It must have printed its message by then: `mpirun`
/// kills the first rank as soon as another has ended with an error.
pub(crate) fn leave() {
    #[cfg(feature = "mpi")]
    if joined_others().is_some() {
        mpi_transport::end();
    }
}

/// Returns the ranks that this process has joined, if it is not alone.
fn joined_others() -> Option<&'static Ranks> {
    let ranks = JOINED.get()?;
    (ranks.count() > 1).then_some(ranks)
}

/// Returns how this rank ends once all know whether one has failed.
fn agree(ranks: &Ranks, own: Ending) -> Ending {
    if ranks.other_failed() {
        return failed_with_others();
    }
    if own.has_failed() {
        ranks.fail();
        return own;
    }
    match ranks.exchange_patiently("the end of the run", &[], false) {
        Ok(_) => own,
        Err(_) => failed_with_others(),
    }
}

/// Returns how a rank ends that has nothing to say of the failure of another.
fn failed_with_others() -> Ending {
    Ending {
        exit_code: FAILED,
        message: String::new(),
    }
}

/// Returns how a run ends whose ranks end so: with the first failure that says why, and with every
/// message once.
fn merged(endings: &[Ending]) -> Ending {
    let mut lines: Vec<String> = vec![];
    let mut said: Vec<&str> = vec![];
    for (rank, ending) in endings.iter().enumerate() {
        let message = ending.message.as_str();
        if message.is_empty() || said.contains(&message) {
            continue;
        }
        said.push(message);
        lines.push(match rank {
            0 => message.to_owned(),
            _ => format!("rank {rank}: {message}"),
        });
    }
    let mut failures = endings.iter().filter(|ending| ending.has_failed());
    let explained = failures.clone().find(|ending| !ending.message.is_empty());
    let exit_code = match explained.or(failures.next()) {
        Some(failure) => failure.exit_code,
        None => endings.iter().map(|e| e.exit_code).max().unwrap_or(0),
    };
    Ending {
        exit_code,
        message: lines.join("\n"),
    }
}

/// What a rank but the first reports: what happens to it alone. What happens to every rank the first
/// one says ([`NodeContext::say_once`](nodes::node::NodeContext::say_once)).
pub(crate) struct OtherRankReport {
    rank: usize,
}

impl OtherRankReport {
    /// Reports of the rank with this number.
    pub(crate) fn new(rank: usize) -> OtherRankReport {
        OtherRankReport { rank }
    }
}

impl Report for OtherRankReport {
    fn update(&self, _: &str, _: Progress) {}
    fn say(&self, line: &str) {
        terminal::print_line(&format!("rank {}: {line}", self.rank));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(exit_code: i32, message: &str) -> Ending {
        Ending {
            exit_code,
            message: message.into(),
        }
    }

    #[test]
    fn ranks_end_as_one() {
        let all = [
            ending(78, "g.json:1:1: wrong"),
            ending(78, "g.json:1:1: wrong"),
        ];
        assert_eq!(merged(&all), all[0]);
        let one = [ending(1, ""), ending(2, "node `a`: bad"), ending(1, "")];
        assert_eq!(merged(&one), ending(2, "rank 1: node `a`: bad"));
        let two = [ending(1, "full"), ending(1, "bad"), ending(1, "bad")];
        assert_eq!(merged(&two), ending(1, "full\nrank 1: bad"));
        let stopped = [ending(75, ""), ending(130, "")];
        assert_eq!(merged(&stopped), ending(130, ""));
        let failed = [ending(75, ""), ending(1, "")];
        assert_eq!(merged(&failed), ending(1, ""));
        assert_eq!(merged(&[]), Ending::default());
    }
}
