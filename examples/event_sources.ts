/**
 * Events as items: buffers with a bound, several sources as one, one event at a time.
 *
 * A sensor sends more than its consumer can take: only the latest readings count, and those
 * that were dropped are counted. An alarm and a timer join in, and the first alarm ends it all.
 */

import {
  each,
  every,
  fromEvent,
  getRunningLoop,
  merge,
  once,
  run,
  sleep,
} from "@rota/rota";
import { assert, assertEquals } from "@std/assert";

/** A device that dispatches a reading every 100 µs, and at last an alarm. */
class Sensor extends EventTarget {
  readings = 0;

  *work() {
    yield* each(every(0.1, { maxRuns: 500 }), () => {
      const detail = ++this.readings;
      this.dispatchEvent(new CustomEvent("reading", { detail }));
    });
    this.dispatchEvent(new Event("alarm"));
  }
}

await run(function* () {
  const sensor = new Sensor();

  // The listener is in place before the work begins: nothing is missed.
  yield* once(sensor, "alarm", {
    trigger: () => {
      getRunningLoop().createTask(() => sensor.work());
    },
  });
  assertEquals(sensor.readings, 500);
  console.log(`the alarm came after ${sensor.readings} readings`);

  const readings = fromEvent<CustomEvent<number>>(sensor, "reading", {
    buffer: 4,
    overflow: "drop-oldest",
  });
  const all = merge(readings, fromEvent(sensor, "alarm"), every(20));
  getRunningLoop().createTask(() => sensor.work());
  let taken = 0;
  let ticks = 0;
  yield* each(all, function* (item, stop) {
    if (item instanceof CustomEvent) {
      taken++;
      yield* sleep(2); // which is slower than the sensor
    } else if (!(item instanceof Event)) {
      console.log(`tick ${++ticks}: ${taken} readings taken`);
    } else {
      console.log("alarm!");
      stop(); // which unsubscribes from everything
    }
  });
  console.log(`${taken} taken, ${readings.dropped} dropped`);
  assert(taken < 500 && ticks > 0);
  assert(taken + readings.dropped + 5 >= 500);
});
