import { assert, assertEquals, assertThrows } from "@std/assert";
import { LinkedList, type ListNode } from "../src/structures/linked_list.ts";
import { SeededRandom } from "../src/structures/random.ts";

class Item implements ListNode<Item> {
  list: LinkedList<Item> | undefined = undefined;
  nextNode: Item | undefined = undefined;
  previousNode: Item | undefined = undefined;
  readonly id: number;

  constructor(id: number) {
    this.id = id;
  }
}

function listOf(count: number): { list: LinkedList<Item>; items: Item[] } {
  const list = new LinkedList<Item>();
  const items = Array.from({ length: count }, (_, id) => new Item(id));
  for (const item of items) list.append(item);
  return { list, items };
}

function ids(list: LinkedList<Item>): number[] {
  return [...list].map((item) => item.id);
}

Deno.test("LinkedList.toArray() copies the nodes, first to last", () => {
  const { list, items } = listOf(3);
  list.remove(items[1]!);
  const copy = list.toArray();
  assertEquals(copy.map(({ id }) => id), [0, 2]);
  copy.length = 0;
  assertEquals(ids(list), [0, 2]);
  assertEquals(new LinkedList<Item>().toArray(), []);
});

function assertUnlinked(item: Item): void {
  assertEquals([item.list, item.nextNode, item.previousNode], [
    undefined,
    undefined,
    undefined,
  ]);
}

Deno.test("LinkedList hands nodes out in the order in which they were appended", () => {
  const { list, items } = listOf(3);
  assertEquals(list.length, 3);
  assert(list.first === items[0]);
  assert(list.last === items[2]);
  assert(list.shift() === items[0]);
  assert(list.shift() === items[1]);
  assert(list.shift() === items[2]);
  assertEquals(list.shift(), undefined);
  assertEquals([list.length, list.first, list.last], [0, undefined, undefined]);
  for (const item of items) assertUnlinked(item);
});

Deno.test("LinkedList.remove() takes a node from the front, the middle and the end", () => {
  const { list, items } = listOf(5);
  for (
    const [id, left] of [[2, [0, 1, 3, 4]], [0, [1, 3, 4]], [4, [
      1,
      3,
    ]]] as const
  ) {
    assertEquals(list.remove(items[id]!), true);
    assertUnlinked(items[id]!);
    assertEquals(ids(list), [...left]);
  }
});

Deno.test("LinkedList.remove() leaves nodes alone that it does not hold", () => {
  const { list, items } = listOf(2);
  const other = listOf(1);
  assertEquals(list.remove(new Item(9)), false);
  assertEquals(list.remove(other.items[0]!), false);
  assertEquals(ids(other.list), [0]);
  assertEquals(list.remove(items[0]!), true);
  assertEquals(list.remove(items[0]!), false);
  assertEquals(ids(list), [1]);
});

Deno.test("LinkedList.append() and prepend() refuse a node that is in a list", () => {
  const { list, items } = listOf(2);
  for (const target of [list, new LinkedList<Item>()]) {
    assertThrows(
      () => target.append(items[0]!),
      Error,
      "Cannot append a node: it is in a list already",
    );
    assertThrows(
      () => target.prepend(items[0]!),
      Error,
      "Cannot prepend a node: it is in a list already",
    );
  }
  assertEquals(ids(list), [0, 1]);
  list.remove(items[0]!);
  list.append(items[0]!);
  assertEquals(ids(list), [1, 0]);
  list.remove(items[0]!);
  list.prepend(items[0]!);
  assertEquals(ids(list), [0, 1]);
});

Deno.test("LinkedList.clear() removes and unlinks every node", () => {
  const { list, items } = listOf(4);
  list.clear();
  assertEquals(list.length, 0);
  for (const item of items) assertUnlinked(item);
});

Deno.test("LinkedList iteration goes on when the current node is removed", () => {
  const { list } = listOf(4);
  const seen: number[] = [];
  for (const item of list) {
    seen.push(item.id);
    list.remove(item);
  }
  assertEquals(seen, [0, 1, 2, 3]);
  assertEquals(list.length, 0);
});

Deno.test("LinkedList iteration leaves out nodes that are removed before their turn", () => {
  const { list, items } = listOf(6);
  const seen: number[] = [];
  for (const item of list) {
    seen.push(item.id);
    if (item.id === 1) {
      for (const id of [2, 3, 0, 5]) list.remove(items[id]!);
    }
  }
  assertEquals(seen, [0, 1, 4]);
});

Deno.test("LinkedList iteration ends when the list is cleared", () => {
  const { list } = listOf(6);
  const seen: number[] = [];
  for (const item of list) {
    seen.push(item.id);
    if (item.id === 1) list.clear();
  }
  assertEquals(seen, [0, 1]);
});

Deno.test("LinkedList iteration yields nodes that are appended meanwhile, also behind the last", () => {
  const { list, items } = listOf(3);
  const seen: number[] = [];
  for (const item of list) {
    seen.push(item.id);
    if (seen.length === 1) {
      list.remove(items[1]!);
      list.append(items[1]!);
    } else if (seen.length === 3) {
      list.remove(item);
      list.append(new Item(7));
    }
  }
  assertEquals(seen, [0, 2, 1, 7]);
});

Deno.test("LinkedList iterations do not disturb each other, nor one that was left early", () => {
  const { list, items } = listOf(4);
  const left = list[Symbol.iterator]();
  left.next();
  left.return();
  const first = list[Symbol.iterator]();
  const second = list[Symbol.iterator]();
  assert(first.next().value === items[0]);
  assert(first.next().value === items[1]);
  assert(second.next().value === items[0]);
  list.remove(items[1]!);
  list.remove(items[2]!);
  assert(first.next().value === items[3]);
  assert(second.next().value === items[3]);
  assertEquals([first.next().done, second.next().done], [true, true]);
});

Deno.test("LinkedList behaves like an array in 20,000 random operations", () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const lists = [new LinkedList<Item>(), new LinkedList<Item>()] as const;
  const models: Item[][] = [[], []];
  const items = Array.from({ length: 60 }, (_, id) => new Item(id));
  for (let step = 0; step < 20_000; step++) {
    const which = random.nextInt(2);
    const list = lists[which]!;
    const model = models[which]!;
    const item = items[random.nextInt(items.length)]!;
    const choice = random.nextInt(10);
    if (choice < 5) {
      if (item.list === undefined) {
        if (random.nextInt(3) > 0) {
          list.append(item);
          model.push(item);
        } else {
          list.prepend(item);
          model.unshift(item);
        }
      }
    } else if (choice < 8) {
      const index = model.indexOf(item);
      assertEquals(list.remove(item), index >= 0);
      if (index >= 0) model.splice(index, 1);
    } else if (choice < 9) {
      assert(list.shift() === model.shift());
    } else if (random.nextInt(50) === 0) {
      list.clear();
      model.length = 0;
    }
    assertEquals(list.length, model.length);
    let index = 0;
    let previous: Item | undefined;
    for (const found of list) {
      assert(found === model[index++] && found.list === list);
      assert(found.previousNode === previous);
      previous = found;
    }
    assert(index === model.length && list.last === previous);
  }
});
