/**
 * Worker of workerpool.
 *
 * @module
 */
import workerpool from "workerpool";
import { add } from "./pool_jobs.ts";

workerpool.worker({ add });
