//! Connections to object stores, one for each bucket. What they need to know is in the environment
//! alone.
use super::Address;
use crate::data::printable::{printable, shortened};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long a request is repeated that a store does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The variables of the environment by which a store knows its users: one of them must be there.
/// Without one the libraries of the stores would ask the network who they are.
const CREDENTIALS: [(&str, &[&str]); 3] = [
    (
        "s3",
        &[
            "AWS_ACCESS_KEY_ID",
            "AWS_SKIP_SIGNATURE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_METADATA_ENDPOINT",
        ],
    ),
    (
        "gs",
        &[
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SKIP_SIGNATURE",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
        ],
    ),
    (
        "az",
        &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_SKIP_SIGNATURE",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_STORAGE_USE_EMULATOR",
            "AZURE_STORAGE_TOKEN",
            "AZURE_MSI_ENDPOINT",
        ],
    ),
];

type Buckets = BTreeMap<(String, String), Arc<dyn ObjectStore>>;

/// Returns the connection to the bucket of an address.
pub(super) fn connect(address: &Address) -> io::Result<Arc<dyn ObjectStore>> {
    static BUCKETS: Mutex<Buckets> = Mutex::new(BTreeMap::new());
    let name = (address.scheme.to_owned(), address.bucket.to_owned());
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = buckets.get(&name) {
        return Ok(store.clone());
    }
    let store = open_bucket(address)?;
    buckets.insert(name, store.clone());
    Ok(store)
}

fn open_bucket(address: &Address) -> io::Result<Arc<dyn ObjectStore>> {
    check_credentials(address.scheme)?;
    let bucket = address.bucket;
    let retry = RetryConfig {
        retry_timeout: PATIENCE,
        ..RetryConfig::default()
    };
    Ok(match address.scheme {
        "s3" => {
            let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).build().map_err(described)?)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).build().map_err(described)?)
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            Arc::new(builder.with_retry(retry).build().map_err(described)?)
        }
        _ => Arc::new(LocalFileSystem::new()),
    })
}

fn check_credentials(scheme: &str) -> io::Result<()> {
    let known = CREDENTIALS.iter().find(|(known, _)| *known == scheme);
    let Some((_, names)) = known else {
        return Ok(());
    };
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if names.iter().any(is_set) {
        return Ok(());
    }
    let message = format!(
        "the environment has no credentials for {scheme}://: set {}, or {}=true for public objects",
        names[0], names[1]
    );
    Err(io::Error::new(ErrorKind::PermissionDenied, message))
}

/// Waits for the answer of a store.
pub(super) fn wait<T>(answer: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let build = || {
        let mut threads = Builder::new_multi_thread();
        let threads = threads.worker_threads(2).enable_all();
        threads.build().map_err(|error| error.to_string())
    };
    match RUNTIME.get_or_init(build) {
        Ok(runtime) => runtime.block_on(answer).map_err(described),
        Err(error) => Err(io::Error::other(error.as_str())),
    }
}

/// Converts the error of a store to one that a person can read.
fn described(error: Error) -> io::Error {
    match error {
        Error::NotFound { .. } => {
            io::Error::new(ErrorKind::NotFound, "there is no such object in the store")
        }
        Error::AlreadyExists { .. } => {
            io::Error::new(ErrorKind::AlreadyExists, "the object is there already")
        }
        Error::Precondition { .. } => io::Error::other("it has changed since it was opened"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            let message = "the store refuses access; it takes the credentials of the environment";
            io::Error::new(ErrorKind::PermissionDenied, message)
        }
        other => {
            let message = other.to_string();
            io::Error::other(printable(&shortened(&message)).into_owned())
        }
    }
}
