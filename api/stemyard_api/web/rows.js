// Rows: brings a list or table in step with data and keeps the rows that stay, so that nothing flickers or loses the focus.

/**
 * Shows one row for each item, in their order.
 *
 * `keyOf(item)` tells items apart, `make(item)` returns `{ node, update(item) }` of a new row; `update` is called each time.
 */
export class Rows {
  #rows = new Map();

  constructor(parent, keyOf, make) {
    Object.assign(this, { parent, keyOf, make });
  }

  show(items) {
    const keys = new Set(items.map(this.keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      handOver(row.node);
      row.node.remove();
      this.#rows.delete(key);
    }
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.keyOf(item);
      const row = this.#rows.get(key) ?? this.make(item);
      this.#rows.set(key, row);
      row.update(item);
      if (row.node === place) place = place.nextElementSibling;
      else move(this.parent, row.node, place);
    }
  }
}

/** Inserts a row before another; one that is moved keeps the focus that moving takes. */
function move(parent, node, before) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(node, before);
  focused?.focus({ preventScroll: true });
}

/** Gives the focus of a row that goes to a neighbour's first control, else to what holds the rows. */
function handOver(node) {
  if (!node.contains(document.activeElement)) return;
  const neighbour = (node.nextElementSibling ?? node.previousElementSibling)?.querySelector("a, button");
  (neighbour ?? node.closest("[tabindex]"))?.focus({ preventScroll: true });
}
