//! Ranks that reach each other by MPI.
//!
//! There are only messages between two ranks, no blocking calls and no collective operations of MPI:
//! each message is asked for again and again until it has arrived. So a rank that is not heard of
//! can be named, and waiting costs no core.
use crate::ending::{CommandError, FAILED};
use crate::terminal;
use ::mpi::environment::{self, Universe};
use ::mpi::request::{Request, Scope, scope};
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::*;
use ::mpi::{Tag, Threading};
use compute::ranks::Transport;
use std::env;
#[cfg(feature = "cuda")]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable for the seconds after which a rank that is not heard of ends the run.
const TIMEOUT_VARIABLE: &str = "PIPELINE_RANK_TIMEOUT";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
/// After this time a rank tells whom it waits for; again after twice as long, and so on.
const FIRST_NOTICE: Duration = Duration::from_secs(60);
/// As long as this a rank asks for a message without a pause.
const BUSY: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_micros(50);
/// How long `mpirun` may take to pass on the last line of a rank that ends all of them.
const FORWARDING: Duration = Duration::from_millis(300);
/// What the environment of a process has if MPI's launcher started it.
const LAUNCHERS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"];

/// Messages of [`Transport::gather`].
const MESSAGE_TAG: Tag = 0;
/// Messages of [`Transport::swap`] and [`Transport::join`].
const GRADIENT_TAG: Tag = 1;

/// Where the numbers of gradients are exchanged.
const GRADIENTS: Wait = Wait {
    moment: "the exchange of gradients",
    is_patient: false,
    tag: GRADIENT_TAG,
};

/// MPI, from [`start`] to [`end`].
static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// Starts MPI if its launcher has started this process; `None` if it is the only one.
///
/// # Errors
/// The MPI library does not allow calls from several threads in turn.
pub(crate) fn start() -> Result<Option<Mpi>, CommandError> {
    if LAUNCHERS.iter().all(|name| env::var_os(name).is_none()) {
        return Ok(None);
    }
    let Some((universe, threading)) = environment::initialize_with_threading(Threading::Serialized)
    else {
        return Err("MPI is started already".into());
    };
    *UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner) = Some(universe);
    if threading < Threading::Serialized {
        let message = "this MPI library is built without threads (MPI_THREAD_SERIALIZED)";
        return Err(message.into());
    }
    #[cfg(feature = "cuda")]
    NUMBER_ON_HOST.store(shared_memory_rank(), Ordering::Relaxed);
    let mpi = Mpi::new();
    Ok((mpi.count > 1).then_some(mpi))
}

/// How many ranks with lower numbers there are on this host.
#[cfg(feature = "cuda")]
static NUMBER_ON_HOST: AtomicUsize = AtomicUsize::new(0);

/// Returns how many ranks with lower numbers there are on this host; 0 without MPI.
#[cfg(feature = "cuda")]
pub(crate) fn number_on_host() -> usize {
    NUMBER_ON_HOST.load(Ordering::Relaxed)
}

/// Asks MPI for the number of this rank among those that share its memory.
#[cfg(feature = "cuda")]
fn shared_memory_rank() -> usize {
    let world = SimpleCommunicator::world();
    world.split_shared(world.rank()).rank() as usize
}

/// Ends MPI: it takes a process that ends without it for one that has crashed.
pub(crate) fn end() {
    drop(
        UNIVERSE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(),
    );
}

/// The ranks of MPI_COMM_WORLD.
pub(crate) struct Mpi {
    rank: usize,
    count: usize,
    /// The host of each rank.
    hosts: Vec<String>,
    timeout: Duration,
}

impl Mpi {
    fn new() -> Mpi {
        let world = SimpleCommunicator::world();
        let seconds = env::var(TIMEOUT_VARIABLE).ok();
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        let mut mpi = Mpi {
            rank: world.rank() as usize,
            count: world.size() as usize,
            hosts: vec![],
            timeout: seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        };
        let host = environment::processor_name().unwrap_or_default();
        let hosts = mpi.gather("its start", host.as_bytes(), false);
        let hosts = hosts
            .iter()
            .map(|host| String::from_utf8_lossy(host).into_owned());
        mpi.hosts = hosts.collect();
        mpi
    }

    /// Sends a part of `sent` to each rank, in their order, and receives a part of each into its
    /// place in `received`.
    fn exchange<T: Equivalence + Copy>(
        &self,
        sent: &[&[T]],
        received: &mut [&mut [T]],
        wait: &Wait,
    ) {
        let world = SimpleCommunicator::world();
        scope(|scope| {
            let mut sends = vec![];
            let mut receives = vec![];
            for (rank, (sent, received)) in sent.iter().zip(received).enumerate() {
                if rank == self.rank {
                    received.copy_from_slice(sent);
                    continue;
                }
                let process = world.process_at_rank(rank as i32);
                let receive = process.immediate_receive_into_with_tag(scope, *received, wait.tag);
                let send = process.immediate_send_with_tag(scope, *sent, wait.tag);
                receives.push((rank, receive));
                sends.push((rank, send));
            }
            self.wait(receives, wait);
            self.wait(sends, wait);
        });
    }

    /// Waits until all requests are done, each of which has the number of the other rank.
    fn wait<'a, D: ?Sized, S: Scope<'a>>(
        &self,
        mut requests: Vec<(usize, Request<'a, D, S>)>,
        wait: &Wait,
    ) {
        let begun = Instant::now();
        let mut silent_since = begun;
        let mut notice = FIRST_NOTICE;
        loop {
            let mut pending = vec![];
            for (rank, request) in requests {
                if let Err(request) = request.test() {
                    pending.push((rank, request));
                }
            }
            requests = pending;
            if requests.is_empty() {
                return;
            }
            let waited = begun.elapsed();
            if waited < BUSY {
                thread::yield_now();
                continue;
            }
            let missing = || self.names(requests.iter().map(|(rank, _)| *rank));
            let first_is_missing = requests.iter().any(|(rank, _)| *rank == 0);
            if wait.is_patient && first_is_missing {
                silent_since = Instant::now();
            }
            if silent_since.elapsed() > self.timeout {
                self.give_up(wait, &missing());
            }
            if waited > notice {
                self.say(&format!("waits for {} at {}", missing(), wait.moment));
                notice *= 2;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Names ranks and their hosts: `rank 2 (node7), rank 3 (node7)`.
    fn names(&self, ranks: impl Iterator<Item = usize>) -> String {
        let name = |rank: usize| match self.hosts.get(rank) {
            Some(host) => format!("rank {rank} ({host})"),
            None => format!("rank {rank}"),
        };
        let names: Vec<String> = ranks.map(name).collect();
        names.join(", ")
    }

    fn say(&self, line: &str) {
        terminal::print_line(&format!("rank {}: {line}", self.rank));
    }

    /// Ends the processes of all ranks: one of them is not heard of.
    fn give_up(&self, wait: &Wait, missing: &str) -> ! {
        let seconds = self.timeout.as_secs();
        let moment = wait.moment;
        self.say(&format!(
            "no word from {missing} for {seconds} s at {moment}, so all ranks end; `--resume` goes on \
             from the last checkpoint ({TIMEOUT_VARIABLE} sets the seconds)"
        ));
        thread::sleep(FORWARDING);
        SimpleCommunicator::world().abort(FAILED)
    }
}

/// What a rank waits for the others at.
struct Wait<'a> {
    moment: &'a str,
    /// Whether the first rank may take as long as it likes: it works alone before this moment.
    is_patient: bool,
    /// Keeps messages of one sort from those of another.
    tag: Tag,
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn gather(&self, moment: &str, message: &[u8], is_patient: bool) -> Vec<Vec<u8>> {
        let wait = Wait {
            moment,
            is_patient,
            tag: MESSAGE_TAG,
        };
        let length = (message.len() as u64).to_le_bytes();
        let mut lengths = vec![[0; size_of::<u64>()]; self.count];
        let mut places: Vec<&mut [u8]> = lengths.iter_mut().map(|l| &mut l[..]).collect();
        self.exchange(&vec![&length[..]; self.count], &mut places, &wait);
        let mut messages = vec![];
        for length in lengths {
            messages.push(vec![0; u64::from_le_bytes(length) as usize]);
        }
        let mut places: Vec<&mut [u8]> = messages.iter_mut().map(|m| &mut m[..]).collect();
        self.exchange(&vec![message; self.count], &mut places, &wait);
        messages
    }

    fn swap(&self, sent: &[f32], received: &mut [f32]) {
        let part = sent.len() / self.count;
        let sent: Vec<&[f32]> = sent.chunks_exact(part).collect();
        let mut places: Vec<&mut [f32]> = received.chunks_exact_mut(part).collect();
        self.exchange(&sent, &mut places, &GRADIENTS);
    }

    fn join(&self, own: &[f32], all: &mut [f32]) {
        let mut places: Vec<&mut [f32]> = all.chunks_exact_mut(own.len()).collect();
        self.exchange(&vec![own; self.count], &mut places, &GRADIENTS);
    }
}
