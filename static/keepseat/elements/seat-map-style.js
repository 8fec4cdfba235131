/** The style of `<seat-map>`: the page's custom properties where it has them. */

import { sheet } from './build.js';

export const STYLE = sheet(`
  :host {
    display: grid; gap: .75rem; min-width: 0;
    --_line: var(--line, #dcd6ca); --_soft: var(--ink-soft, #5b5466); --_accent: var(--accent, #5130d4);
    --_ground: var(--ground, #f6f3ec); --_surface: var(--surface, #fff); --_ink: var(--ink, #1a1524);
    --_radius: var(--radius-small, .625rem);
  }
  :host([hidden]), [hidden] { display: none !important; }
  * { box-sizing: border-box; min-width: 0; }
  button { font: inherit; color: inherit; cursor: pointer; }
  button:focus-visible { outline: 3px solid var(--_accent); outline-offset: 2px; }

  .house {
    position: relative; container-type: inline-size; height: clamp(15rem, 34vw, 22rem); overflow: hidden;
    border-radius: var(--_radius); background: var(--sunken, #eeeae1);
  }
  canvas { display: block; width: 100%; height: 100%; cursor: grab; }
  canvas:active { cursor: grabbing; }
  .zoom { position: absolute; top: .5rem; right: .5rem; display: grid; gap: .25rem; }
  .zoom button {
    display: grid; place-items: center; width: 2.25rem; height: 2.25rem; padding: 0;
    border: 1px solid var(--_line); border-radius: .5rem; background: var(--_surface); font-size: 1.125rem; line-height: 1;
  }
  .zoom button:hover { border-color: currentcolor; }
  /* where there is no room beside the house, the buttons stand below it */
  @container (width < 36rem) {
    canvas { height: calc(100% - 3rem); }
    .zoom { inset: auto .5rem .5rem; grid-auto-flow: column; justify-content: center; }
    .zoom button { width: 2.75rem; }
  }

  .sections { display: flex; flex-wrap: wrap; gap: .5rem; max-height: 14rem; overflow-y: auto; padding: 2px; }
  .section {
    display: flex; flex-wrap: wrap; gap: 0 .5rem; align-items: baseline; min-height: 2.75rem; padding: .5rem .875rem;
    border: 1px solid color-mix(in srgb, var(--_soft) 70%, transparent); border-radius: var(--_radius);
    background: var(--_ground); font-size: .875rem; font-variant-numeric: tabular-nums;
  }
  .section small { color: var(--_soft); font-size: 1em; }
  .section[aria-pressed="true"] { border-color: var(--_accent); box-shadow: inset 0 -3px var(--_accent); }

  .legend { display: flex; flex-wrap: wrap; gap: .375rem 1.25rem; color: var(--_soft); font-size: .875rem; }
  .legend span { display: inline-flex; gap: .5rem; align-items: center; }
  .legend b { display: inline-block; font-weight: 400; }
  .legend b::first-letter { text-transform: uppercase; }

  .seat-scroll {
    max-height: min(32rem, 66dvh); overflow: auto; overscroll-behavior: contain;
    scroll-padding: .5rem .5rem .5rem 3.25rem; /* what has the focus is not under the row's name */
    border: 1px solid var(--_line); border-radius: var(--_radius); background: var(--_ground);
  }
  .seat-grid { --cell: 2.25rem; width: calc(var(--seats) * var(--cell) + 3rem + 1rem); margin: 0 auto; padding: .5rem 0; }
  /* rows out of sight cost nothing, also where there are thousands of seats */
  .seat-row { display: flex; height: var(--cell); content-visibility: auto; contain-intrinsic-size: auto var(--cell); }
  .row-name {
    position: sticky; left: 0; z-index: 1; display: grid; flex: none; place-items: center; width: 3rem; overflow: hidden;
    background: var(--_ground); color: var(--_soft); font-size: .8125rem; font-weight: 600;
  }

  /* told apart by shape and sign, not by colour alone */
  .seat {
    display: grid; flex: none; place-content: center; width: 2rem; height: 2rem; margin: .125rem;
    border: 1.5px solid var(--_accent); border-radius: .5rem .5rem .25rem .25rem;
    background: var(--_surface); color: var(--_ink);
    cursor: pointer; font-size: .75rem; font-variant-numeric: tabular-nums; line-height: 1;
  }
  .seat:hover { background: var(--accent-soft, #e9e3ff); }
  /* also after a press: here the arrow keys begin */
  .seat:focus {
    outline: 3px solid var(--_accent);
    outline-offset: -1px; /* a row clips what is beside it */
    box-shadow: inset 0 0 0 2px var(--_surface);
  }
  .seat::before { content: attr(data-number); content: attr(data-number) / ""; }
  /* a sign in place of the number */
  .seat:is([data-state="own"], [data-state="held"], [data-state="sold"])::before { font-size: 1rem; font-weight: 700; }
  .seat[data-state="own"] { border-radius: 1rem 1rem .25rem .25rem; background: var(--_accent); color: var(--on-accent, #fff); }
  .seat[data-state="own"]::before { content: "✓"; content: "✓" / ""; }
  .seat[data-state="held"] {
    border: 2px dashed var(--_soft); border-radius: 50%; background: none; color: var(--_soft); cursor: not-allowed;
  }
  .seat[data-state="held"]::before { content: "⋯"; content: "⋯" / ""; }
  .seat[data-state="sold"] {
    border-color: transparent; border-radius: .125rem; color: var(--_soft); cursor: not-allowed;
    background: repeating-linear-gradient(135deg, var(--_line) 0 3px, transparent 3px 6px);
  }
  .seat[data-state="sold"]::before { content: "×"; content: "×" / ""; }
  .legend .seat { width: 1.5rem; height: 1.5rem; margin: 0; cursor: auto; }
  .legend .seat[data-state="available"] { background: var(--_surface); }
  :host([closed]) .seat { cursor: not-allowed; }
`);
