/**
 * Modules in the order of loading, each after those that it imports. Written by `deno task load-order`, not by hand.
 *
 * Deno handles a module twice if it is the first to import another one: for large modules that adds up to some four
 * milliseconds at the start of a program. Once this list is loaded, no module is the first to import anything.
 *
 * @module
 */
import "./errors.ts";
import "./host/host.ts";
import "./host/platform.ts";
import "./host/errno.ts";
import "./host/process.ts";
import "./host/libc.ts";
import "./host/libc_pipe.ts";
import "./host/pipe.ts";
import "./host/macrotask.ts";
import "./host/microtask.ts";
import "./host/timers.ts";
import "./host/virtual.ts";
import "./host/async_context.ts";
import "./loop/checks.ts";
import "./loop/current.ts";
import "./structures/timer_sort.ts";
import "./structures/timer_queue.ts";
import "./loop/handle.ts";
import "./loop/waiting.ts";
import "./structures/ring_buffer.ts";
import "./loop/scheduler.ts";
import "./loop/future.ts";
import "./loop/block.ts";
import "./host/finalization.ts";
import "./loop/leftovers.ts";
import "./structures/linked_list.ts";
import "./loop/signal_hub.ts";
import "./loop/operation.ts";
import "./loop/sleep.ts";
import "./host/clock.ts";
import "./host/headstart.ts";
import "./host/libc_epoll.ts";
import "./host/native.ts";
import "./host/epoll.ts";
import "./host/libc_poll.ts";
import "./host/poll_list.ts";
import "./host/poll.ts";
import "./host/portable.ts";
import "./host/select.ts";
import "./loop/loop_options.ts";
import "./loop/task.ts";
import "./loop/ranked.ts";
import "./loop/diagnostics.ts";
import "./host/signals.ts";
import "./loop/watchers.ts";
import "./loop/pacing.ts";
import "./loop/event_loop.ts";
import "./loop/generators.ts";
import "./loop/run.ts";
import "./sync/wait_queue.ts";
import "./sync/locks.ts";
import "./structures/heap.ts";
import "./sync/queue.ts";
import "./loop/work_runner.ts";
import "./structures/priority_line.ts";
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
