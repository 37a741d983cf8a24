/**
 * Modules in the order of loading, each after those that it imports. Written by `deno task load-order`, not by hand.
 *
 * Deno handles a module twice if it is the first to import another one: for large modules that adds up to some four
 * milliseconds at the start of a program. Once this list is loaded, no module is the first to import anything.
 *
 * @module
 */
import "../errors.ts";
import "./checks.ts";
import "./strand_tree.ts";
import "./cancellation.ts";
import "../host/async_context.ts";
import "./current.ts";
import "../structures/linked_list.ts";
import "./signal_hub.ts";
import "./stepping.ts";
import "./guarded.ts";
import "../host/finalization.ts";
import "./leftovers.ts";
import "../host/microtask.ts";
import "../structures/timer_sort.ts";
import "../structures/timer_queue.ts";
import "./handle.ts";
import "./strand.ts";
import "./promise_wait.ts";
import "../structures/ring_buffer.ts";
import "./scheduler.ts";
import "./future.ts";
import "./operation_wait.ts";
import "./operation.ts";
import "./attempt_operation.ts";
import "./body.ts";
import "./block.ts";
import "./sleep.ts";
import "../host/clock.ts";
import "../host/process.ts";
import "../host/platform.ts";
import "../host/errno.ts";
import "../host/headstart.ts";
import "../host/host.ts";
import "../host/libc.ts";
import "../host/libc_epoll.ts";
import "../host/macrotask.ts";
import "../host/timers.ts";
import "../host/native.ts";
import "../host/epoll.ts";
import "../host/libc_pipe.ts";
import "../host/libc_poll.ts";
import "../host/poll_list.ts";
import "../host/poll.ts";
import "../host/portable.ts";
import "../host/virtual.ts";
import "../host/select.ts";
import "./loop_options.ts";
import "./task.ts";
import "./ranked.ts";
import "./diagnostics.ts";
import "../host/signals.ts";
import "./watchers.ts";
import "./pacing.ts";
import "./event_loop.ts";
import "./async_items.ts";
import "./until.ts";
import "./each.ts";
import "./scoped.ts";
import "./run.ts";
