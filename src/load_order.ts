/**
 * All modules, each after those that it imports.
 *
 * The runtime loads a module a second time, from reading it to checking what it
 * read, if it is the first to ask for another one: for the large ones that adds
 * up to some four milliseconds at the start of a program. Nobody is the first to
 * ask for anything once this list is loaded.
 *
 * A new file gets a line here; `tests/layers_test.ts` says where.
 *
 * @module
 */
import "./errors.ts";
import "./host/host.ts";
import "./host/runtime.ts";
import "./host/libc.ts";
import "./host/pipe.ts";
import "./host/portable.ts";
import "./loop/checks.ts";
import "./loop/current.ts";
import "./structures/timer_queue.ts";
import "./loop/handle.ts";
import "./loop/waiting.ts";
import "./structures/queues.ts";
import "./loop/scheduler.ts";
import "./loop/future.ts";
import "./loop/block.ts";
import "./loop/leftovers.ts";
import "./loop/signal_hub.ts";
import "./loop/operation.ts";
import "./loop/sleep.ts";
import "./host/epoll.ts";
import "./host/poll.ts";
import "./host/select.ts";
import "./loop/loop_options.ts";
import "./loop/task.ts";
import "./loop/ranked.ts";
import "./loop/diagnostics.ts";
import "./loop/watchers.ts";
import "./loop/pacing.ts";
import "./loop/event_loop.ts";
import "./loop/generators.ts";
import "./loop/run.ts";
import "./sync/wait_queue.ts";
import "./sync/locks.ts";
import "./sync/queue.ts";
import "./loop/work_runner.ts";
import "./structured/limit.ts";
import "./structured/wait.ts";
import "./structured/cancel_scope.ts";
import "./structured/task_group.ts";
import "./schedule/claim_queue.ts";
import "./schedule/line_keeper.ts";
import "./schedule/limit_core.ts";
import "./schedule/claim.ts";
import "./schedule/limit_job.ts";
import "./schedule/map_source.ts";
import "./schedule/map_plan.ts";
import "./schedule/map_results.ts";
import "./schedule/map_claim.ts";
import "./schedule/ready_feed.ts";
import "./schedule/awaited_feed.ts";
import "./schedule/map_slot.ts";
import "./schedule/map_run.ts";
import "./schedule/map_iteration.ts";
import "./schedule/limit_map.ts";
import "./schedule/concurrency_limit_options.ts";
import "./schedule/concurrency_limit.ts";
import "./schedule/fixed_window.ts";
import "./schedule/sliding_window.ts";
import "./schedule/token_bucket.ts";
import "./schedule/rate_limiter.ts";
import "./structures/random.ts";
import "./schedule/ticks.ts";
import "./schedule/jitter.ts";
import "./schedule/interval_ticks.ts";
import "./schedule/schedule_ticks.ts";
import "./schedule/wall_clock.ts";
import "./schedule/tick_planner.ts";
import "./schedule/tick.ts";
import "./schedule/beat.ts";
import "./schedule/grid.ts";
import "./schedule/metronome.ts";
import "./schedule/periodic_ends.ts";
import "./schedule/periodic_state.ts";
import "./schedule/periodic_options.ts";
import "./schedule/periodic_runs.ts";
import "./schedule/tick_feed.ts";
import "./schedule/periodic_core.ts";
import "./schedule/periodic_task.ts";
import "./schedule/every.ts";
import "./schedule/mod.ts";
