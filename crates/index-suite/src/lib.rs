//! The tests that every adapter of the index passes: what is written, what pages read, and that the order of events does not matter.
//!
//! An adapter says how an index of its own is made ([`Subject`]), and calls [`index_suite!`] in its tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

pub mod configs;
pub mod convergence;
pub mod discovery;
pub mod network;
pub mod others;
pub mod pages;
pub mod search;
pub mod status;
pub mod subject;
pub mod work;

pub use subject::{Ports, Subject};

/// A test for each function of the suite, on the [`Subject`] that is named by its full path (`crate::Store`).
#[macro_export]
macro_rules! index_suite {
    ($subject:path) => {
        $crate::index_suite! { $subject =>
            pages: async [
                a_repository_shows_what_was_tagged_last_and_its_totals,
                tags_come_newest_first_or_by_version_and_page_both_ways,
                a_filter_goes_over_all_tags_and_fallback_tags_are_apart,
                a_part_of_several_images_names_them_all,
                a_manifest_says_what_keeps_it,
                referrers_page_by_digest,
                a_move_of_a_tag_is_remembered_and_the_first_listing_is_none,
                of_two_records_for_one_tag_the_one_moved_last_counts,
                a_time_in_the_future_does_not_climb_the_lists,
                every_record_comes_back_under_its_key,
                a_record_with_any_characters_is_written,
            ] []
            others: async [
                an_account_stars_a_repository_once_whatever_records_it_has,
                pulls_are_what_the_repositorys_own_holds_say,
                counts_that_are_more_than_a_number_has_room_for_are_capped,
                holds_and_their_members_are_found_from_both_sides,
                a_scan_counts_when_the_hold_has_the_manifest,
            ] []
            search: async [
                words_are_found_in_every_field_and_the_exact_name_comes_first,
                a_slip_of_the_finger_finds_the_name,
                a_text_that_is_gone_is_not_found,
            ] [any_text_can_be_searched_for,]
            status: async [
                what_is_hidden_is_nowhere_and_comes_back_from_its_own_rows,
                the_stars_of_a_hidden_account_do_not_count,
                a_step_is_done_known_or_behind_a_gap,
                a_step_from_another_tree_of_the_same_revision_is_behind_a_gap,
                a_write_of_ours_gets_its_tree_from_the_commit_later,
                an_account_that_is_distrusted_is_cut_until_all_of_it_was_compared,
                a_handle_is_one_accounts_and_an_old_one_leads_to_its_owner,
                a_record_that_cannot_be_used_is_remembered_and_replaces_what_was_there,
                who_lost_a_source_writes_nothing,
                what_a_pull_needs_is_found_by_keys_and_says_whether_it_is_of_today,
            ] []
            network: async [a_made_up_network_is_the_same_each_time_and_can_be_paged_through,] []
            configs: async [
                a_card_shows_what_the_configuration_of_its_image_says,
                an_account_with_many_images_is_in_nobodys_way,
                configurations_that_nobody_may_see_are_forgotten,
                many_cards_show_one_configuration,
                a_card_waits_for_the_image_that_it_shows,
            ] []
            work: async [
                the_first_lane_goes_first_and_a_claim_is_one_workers,
                what_is_queued_while_it_is_worked_on_is_worked_on_again,
                what_failed_waits,
            ] []
            discovery: async [a_page_of_a_list_queues_who_is_not_at_its_revision_and_moves_the_list,] []
            convergence: async [] [any_events_in_any_order_with_losses_and_crashes_end_in_the_listing,]
        }
    };
    ($subject:path => $($part:ident: async [$($waiting:ident,)*] [$($plain:ident,)*])*) => {
        $(mod $part {
            $(
                #[tokio::test]
                async fn $waiting() {
                    $crate::$part::$waiting::<$subject>().await;
                }
            )*
            $(
                #[test]
                fn $plain() {
                    $crate::$part::$plain::<$subject>();
                }
            )*
        })*
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_test_of_the_suite_is_in_its_list() {
        let list = include_str!("lib.rs");
        let parts = [
            include_str!("pages.rs"),
            include_str!("search.rs"),
            include_str!("status.rs"),
            include_str!("network.rs"),
            include_str!("work.rs"),
            include_str!("discovery.rs"),
            include_str!("convergence.rs"),
        ];
        let tests = parts.iter().flat_map(|part| part.lines()).filter_map(|line| {
            let name = line
                .strip_prefix("pub async fn ")
                .or_else(|| line.strip_prefix("pub fn "))?;
            name.split_once("<S: Subject>").map(|(name, _)| name)
        });
        let mut count = 0;
        for name in tests {
            assert!(list.contains(&format!("{name},")), "{name} is not in the list");
            count += 1;
        }
        assert!(count > 30, "{count}");
    }
}
