/** The style of `<connection-quality>`; a constructed sheet, which a strict content security policy allows. */

export const STYLE = new CSSStyleSheet();

STYLE.replaceSync(`
  :host { display: inline-block; vertical-align: -.125em; }
  :host([hidden]) { display: none; }
  [role] { display: flex; align-items: flex-end; gap: .125em; height: 1em; --on: var(--quality-unknown, currentcolor); }
  [role][data-level=good] { --on: var(--quality-good, currentcolor); }
  [role][data-level=fair] { --on: var(--quality-fair, currentcolor); }
  [role][data-level=poor] { --on: var(--quality-poor, currentcolor); }
  i {
    box-sizing: border-box; width: .25em; border: .0625em solid var(--on); border-radius: .0625em;
    transition: background-color .2s;
  }
  i:nth-child(1) { height: 40%; }
  i:nth-child(2) { height: 70%; }
  i:nth-child(3) { height: 100%; }
  i[data-on] { background-color: var(--on); }
  @media (forced-colors: active) { i[data-on] { forced-color-adjust: none; background-color: CanvasText; } }
  @media (prefers-reduced-motion: reduce) { i { transition: none; } }
`);
