export { AttemptOperation } from "../loop/attempt_operation.ts";
