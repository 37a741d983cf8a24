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
import "./loop/strand_tree.ts";
import "./loop/cancellation.ts";
import "./loop/current.ts";
import "./loop/signal_hub.ts";
import "./loop/stepping.ts";
import "./loop/guarded.ts";
import "./loop/leftovers.ts";
import "./structures/timer_queue.ts";
import "./loop/handle.ts";
import "./loop/strand.ts";
import "./loop/promise_wait.ts";
import "./structures/queues.ts";
import "./loop/scheduler.ts";
import "./loop/future.ts";
import "./loop/operation_wait.ts";
import "./loop/operation.ts";
import "./loop/attempt_operation.ts";
import "./loop/body.ts";
import "./loop/block.ts";
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
import "./loop/async_items.ts";
import "./loop/until.ts";
import "./loop/each.ts";
import "./loop/scoped.ts";
import "./loop/run.ts";
import "./sync/wait_queue.ts";
import "./sync/locks.ts";
import "./sync/queue.ts";
import "./loop/work_runner.ts";
import "./structured/joint_future.ts";
import "./structured/group_tasks.ts";
import "./structured/lending.ts";
import "./structured/watch.ts";
import "./structured/completions.ts";
import "./structured/waitable.ts";
import "./structured/as_completed.ts";
import "./structured/block_body.ts";
import "./structured/cancel_scope.ts";
import "./structured/effective_deadline.ts";
import "./structured/ensure_future.ts";
import "./structured/scope_options.ts";
import "./structured/fail_after.ts";
import "./structured/lending_futures.ts";
import "./structured/gather.ts";
import "./structured/move_on.ts";
import "./structured/shield.ts";
import "./structured/discarding.ts";
import "./structured/group_slots.ts";
import "./structured/limited_task.ts";
import "./structured/group_run.ts";
import "./structured/group_start.ts";
import "./structured/task_group.ts";
import "./structured/timeout.ts";
import "./structured/wait.ts";
import "./structured/wait_for.ts";
import "./structured/mod.ts";
import "./schedule/limit_core.ts";
import "./schedule/limit_map.ts";
import "./schedule/concurrency_limit.ts";
import "./schedule/rate_limiter.ts";
import "./structures/random.ts";
import "./schedule/ticks.ts";
import "./schedule/periodic.ts";
