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
import "./loop/core.ts";
import "./loop/handle.ts";
import "./loop/done_callback.ts";
import "./loop/waiting.ts";
import "./loop/priority_inheritance.ts";
import "./loop/future.ts";
import "./loop/block.ts";
import "./loop/creation_stack.ts";
import "./loop/unstarted_operations.ts";
import "./loop/signal_hub.ts";
import "./loop/operation.ts";
import "./structures/timer_queue.ts";
import "./loop/sleep.ts";
import "./host/epoll.ts";
import "./host/poll.ts";
import "./host/select.ts";
import "./loop/priority.ts";
import "./loop/scheduler.ts";
import "./loop/loop_options.ts";
import "./loop/create_task.ts";
import "./loop/descriptors.ts";
import "./loop/exceptions.ts";
import "./structures/queues.ts";
import "./loop/deadlock.ts";
import "./loop/io_gate.ts";
import "./loop/timer_handle.ts";
import "./loop/tick_timer.ts";
import "./loop/loop_timers.ts";
import "./loop/outside_work.ts";
import "./loop/parking.ts";
import "./loop/posted_task.ts";
import "./loop/task.ts";
import "./loop/run_runnable.ts";
import "./loop/debug_mode.ts";
import "./loop/ready_place.ts";
import "./loop/priority_handle.ts";
import "./loop/priority_ready_queue.ts";
import "./loop/signal_handlers.ts";
import "./loop/stray_waits.ts";
import "./loop/stuck_task.ts";
import "./loop/task_list.ts";
import "./loop/unseen_failures.ts";
import "./loop/parts.ts";
import "./loop/precision.ts";
import "./loop/kernel.ts";
import "./loop/event_loop.ts";
import "./loop/generators.ts";
import "./loop/check_loop.ts";
import "./loop/all_tasks.ts";
import "./loop/eager_tasks.ts";
import "./loop/policy.ts";
import "./loop/interrupt.ts";
import "./loop/runner.ts";
import "./loop/run.ts";
import "./structures/priority_line.ts";
import "./loop/priority_scheduler.ts";
import "./sync/wait_queue.ts";
import "./sync/locks.ts";
import "./sync/queue.ts";
import "./loop/work_runner.ts";
import "./structured/limit.ts";
import "./structured/wait.ts";
import "./structured/cancel_scope.ts";
import "./structured/task_group.ts";
import "./schedule/limit_core.ts";
import "./schedule/limit_map.ts";
import "./schedule/concurrency_limit.ts";
import "./schedule/rate_limiter.ts";
import "./structures/random.ts";
import "./schedule/ticks.ts";
import "./schedule/periodic.ts";
