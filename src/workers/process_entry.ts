/**
 * Script of the processes of a pool. Elsewhere it does nothing.
 *
 * @module
 */
import { ProcessWorker } from "./process_worker.ts";

if (import.meta.main) new ProcessWorker(Deno.args[0]).run();
