/** The elements' pure parts: where seats stand, and what a barcode says. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { layOut } from '../../../static/keepseat/elements/house-layout.js';
import { planOf } from '../../../static/keepseat/elements/seat-plan.js';
import { widthsOf } from '../../../static/page/barcode.js';

const HOUSES = {
  arena: [
    { name: 'FLOOR', rows: 20, seatsPerRow: 50, price: 2 },
    { name: 'EAST', rows: 40, seatsPerRow: 50, price: 1 },
    { name: 'WEST', rows: 40, seatsPerRow: 50, price: 1 },
  ],
  one: [{ name: 'A', rows: 1, seatsPerRow: 1 }],
  long: [{ name: 'A', rows: 2, seatsPerRow: 300 }],
};

for (const [name, sections] of Object.entries(HOUSES)) {
  test(`every seat of the house "${name}" has a place of its own, in the house and in its section`, () => {
    const plan = planOf({ sections });
    const { spots, boxes, house } = layOut(plan.blocks);

    assert.deepEqual(new Set(spots.map(({ seat }) => seat.id)), new Set(plan.byId.keys()));
    assert.equal(new Set(spots.map(({ x, y }) => `${x.toFixed(3)} ${y.toFixed(3)}`)).size, spots.length);
    for (const { x, y, block } of spots) {
      assert.ok(isIn(house, x, y) && isIn(boxes.get(block), x, y));
      const others = [...boxes].filter(([other]) => other !== block);
      // rows are bent, so boxes may overlap a little; a column of one section never lies in another's
      assert.ok(others.every(([other, box]) => !isIn(box, x, y) || other.price !== block.price));
    }
  });
}

/** @param {any} box */
function isIn({ left, top, width, height }, x, y) {
  return x >= left && x <= left + width && y >= top && y <= top + height;
}

test('sections of one price stand side by side', () => {
  const { boxes } = layOut(planOf({ sections: HOUSES.arena }).blocks);
  const [floor, east, west] = [...boxes.values()];

  assert.equal(east.top, west.top);
  assert.ok(east.left + east.width < west.left);
  assert.ok(floor.top < east.top);
});

test('ids without sections tell of rows, with them of both', () => {
  const { blocks } = planOf({ seats: ['A-1', 'A-2', 'B7', 'VIP-1-1'] });

  assert.deepEqual(
    blocks.map((block) => [block.name, block.rows.map((row) => row.map((seat) => `${seat.row}/${seat.number}`))]),
    [
      ['', [['A/1', 'A/2'], ['B/7']]],
      ['VIP', [['1/1']]],
    ],
  );
});

test('a barcode is what Code 128 says: eleven modules a symbol, and the check character of the standard', () => {
  const widths = widthsOf('PJJ123C');

  // by hand: 104 + 48·1 + 42·2 + 42·3 + 17·4 + 18·5 + 19·6 + 35·7 = 879 = 8 · 103 + 55, and 55 is a W
  assert.deepEqual(widths.slice(-13, -7), widthsOf('W').slice(6, 12));
  assert.equal(widths.length, 6 * 9 + 7);
  assert.equal(
    widths.reduce((sum, width) => sum + width, 0),
    11 * 9 + 13,
  );
});

test('every printable character has a symbol of its own', () => {
  const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
  const symbols = printable.map((char) => widthsOf(char).slice(6, 12).join(''));

  assert.equal(new Set(symbols).size, 95);
  for (const symbol of symbols) assert.equal([...symbol].reduce((sum, width) => sum + Number(width), 0), 11);
});
