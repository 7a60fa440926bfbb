//! What Toolgate promises, through its real binary: one file a promise. A test must never be bent to what the
//! binary happens to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may fail loudly"
)]

mod a_bad_file_stops_the_start;
mod a_crash_loses_nothing;
mod a_crash_never_sends_twice;
mod a_repeated_call_is_made_once;
mod a_repeated_request_is_made_once;
mod a_stop_finishes_what_is_under_way;
mod a_store_is_saved_and_moved;
mod access_tokens_stand_for_agents;
mod all_services_stand_behind_one_endpoint;
mod an_approval_is_good_for_one_call;
mod an_echoed_secret_is_masked;
mod an_older_version_stands_beside;
mod an_upstreams_trouble_is_contained;
mod approvals_cli;
mod approvals_watch;
mod bridge_carries_messages;
mod bytes_pass_untouched;
mod changed_tools_are_held_back;
mod children_are_kept_apart;
mod children_cannot_do_harm;
mod commands_explain_themselves;
mod conditions_decide;
mod connect_sets_up_clients;
mod console_api;
mod console_changes;
mod console_decisions;
mod console_events;
mod console_export;
mod console_logins;
mod console_metrics;
mod console_pages;
mod console_people;
mod console_requests;
mod console_roles;
mod console_routes;
mod containers_are_watched;
mod credentials_go_in_and_never_out;
mod every_forwarded_call_is_recorded;
mod examples_work_as_written;
mod explain_answers_beforehand;
mod harness;
mod headers_and_body_agree;
mod heads_are_read_one_way;
mod held_calls_are_tasks;
mod held_calls_come_back;
mod held_calls_have_deadlines;
mod http_services_get_what_was_judged;
mod http_services_speak_mcp;
mod init_makes_a_home;
mod keys_are_shown_once;
mod keys_come_from_four_places;
mod keys_hold_while_people_decide;
mod listeners_hear_of_changes;
mod lists_show_what_may_be_used;
mod members_are_kept_apart;
mod models_wait_for_people;
mod no_record_no_call;
mod odd_messages_stay_with_their_reader;
mod only_what_was_judged_travels_on;
mod operators_answer_for_themselves;
mod people_are_notified;
mod policy_is_checked_and_explained;
mod refused_calls_reach_nobody;
mod requests_are_read_strictly;
mod requests_by_tool_are_requests;
mod risky_calls_wait;
mod rounds_travel_untouched;
mod screen;
mod services_are_applied_from_a_file;
mod settings_say_what_is_wrong;
mod several_gateways_are_one;
mod shared_children_mix_nothing_up;
mod strangers_are_told_apart;
mod streams_belong_to_who_opened_them;
mod tampering_is_found;
mod terminal;
mod the_demo_leaves_a_refund;
mod the_kill_switch_stops_everything;
mod the_last_good_policy_stays;
mod the_newest_version_is_kept_to;
mod the_proxy_takes_envelopes;
mod the_trail_is_kept_for_a_time;
mod the_vault_outlives_its_keys;
mod tls_keeps_calls_private;
mod too_many_calls_wait;
mod what_is_withdrawn_ends_at_once;
mod what_was_approved_is_what_is_sent;
