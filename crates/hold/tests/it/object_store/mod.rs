//! What every object store must do, run against each of them: the filesystem store, an in-process S3, and a real S3 server.
//!
//! The suites use a store as the hold and the holder of its URLs do: through `BlobService`, and over HTTP.

mod filesystem;
mod late_completion;
mod own_objects;
mod panicking_uploads;
mod s3;
pub(crate) mod servers;
mod stalling_store;
mod suite;
mod world;

pub(crate) use self::own_objects::own_objects;
use self::world::{Backend, World};

/// One test per store out of each function of the suite.
macro_rules! for_every_store {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            use super::{Backend, World, suite};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn filesystem() {
                suite::$name(World::start(Backend::Filesystem).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn s3s() {
                suite::$name(World::start(Backend::S3s).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn versitygw() {
                match super::servers::versitygw_binary() {
                    Some(binary) => suite::$name(World::start(Backend::Versitygw(binary)).await).await,
                    None => eprintln!("SKIPPED: ATCR_VERSITYGW names no binary, the suite does not run against versitygw"),
                }
            }
        }
    )* };
}

for_every_store!(
    a_blob_goes_in_and_comes_out,
    parts_are_joined_in_order,
    an_empty_blob_is_a_blob,
    sha512_names_a_blob_as_well,
    other_bytes_cannot_be_planted,
    what_is_there_is_never_written_again,
    an_upload_belongs_to_who_began_it,
    completion_can_be_repeated,
    parts_must_be_those_that_were_sent,
    a_part_can_be_sent_again,
    an_aborted_upload_is_gone,
    what_nobody_finishes_is_swept,
    what_only_the_store_knows_is_swept,
    a_url_is_good_for_one_method_one_path_and_a_while,
    unsafe_identifiers_and_part_numbers_are_refused,
    an_upload_outlives_the_process,
    blobs_of_the_older_layout_are_found,
);
