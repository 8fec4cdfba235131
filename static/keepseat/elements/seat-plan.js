/** The seats of an event as people look for them: by section, row and seat. Pure. */

/**
 * @typedef {{ name: string, rows: number, seatsPerRow: number, price?: number | null }} Section
 * @typedef {{ sections?: Section[], seats?: string[] }} Seating as `GET /events/<id>` tells it
 * @typedef {{ id: string, section: string, row: string, number: string, price: number | null }} Seat
 * @typedef {{ name: string, price: number | null, rows: Seat[][], count: number }} Block
 * @typedef {{ blocks: Block[], byId: Map<string, Seat> }} Plan
 */

/** @param {Seating} event @returns {Plan} */
export function planOf({ sections, seats = [] }) {
  const blocks = sections ? sections.map(fromSection) : fromIds(seats);
  const all = blocks.flatMap(({ rows }) => rows.flat());
  return { blocks, byId: new Map(all.map((seat) => [seat.id, seat])) };
}

/** @param {Section} section @returns {Block} */
function fromSection({ name, rows, seatsPerRow, price = null }) {
  const numbers = Array.from({ length: seatsPerRow }, (_, i) => String(i + 1));
  const row = (/** @type {string} */ row) =>
    numbers.map((number) => ({ id: `${name}-${row}-${number}`, section: name, row, number, price }));
  return {
    name,
    price,
    rows: Array.from({ length: rows }, (_, i) => row(String(i + 1))),
    count: rows * seatsPerRow,
  };
}

/** Where only a list of ids is known, they tell of sections and rows. @param {string[]} ids @returns {Block[]} */
function fromIds(ids) {
  /** @type {Map<string, Map<string, Seat[]>>} */
  const sections = new Map();
  for (const id of ids) {
    const [section, row, number] = split(id);
    const rows = sections.get(section) ?? new Map();
    const seats = rows.get(row) ?? [];
    sections.set(section, rows);
    rows.set(row, seats);
    seats.push({ id, section, row, number, price: null });
  }
  return [...sections].map(([name, rows]) => ({
    name,
    price: null,
    rows: [...rows.values()],
    count: [...rows.values()].reduce((sum, row) => sum + row.length, 0),
  }));
}

/** `VIP-3-12` is section, row and seat, `A-1` and `A1` are row and seat. @param {string} id */
function split(id) {
  const parts = id.split('-');
  const number = parts.pop() ?? '';
  const row = parts.pop();
  if (row !== undefined) return [parts.join('-'), row, number];
  const [, letters = '', digits = id] = id.match(/^(.*?)(\d+)$/) ?? [];
  return ['', letters, digits];
}
