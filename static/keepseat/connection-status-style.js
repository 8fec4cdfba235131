/** The style of `<connection-status>`; a constructed sheet, which a strict content security policy allows. */

export const STYLE = new CSSStyleSheet();

STYLE.replaceSync(`
  :host { display: block; }
  [role]:not(:empty) {
    display: flex; align-items: center; gap: .625rem; box-sizing: border-box;
    padding: .625rem 1rem; border-radius: .75rem;
    font-size: .9375rem; font-weight: 500; line-height: 1.4;
    animation: enter .2s ease-out;
  }
  [part=waiting]:not(:empty) {
    color: var(--status-waiting-text, #3d2c00);
    background: var(--status-waiting, #ffd54a);
    box-shadow: var(--status-shadow, 0 4px 16px rgb(0 0 0 / .18));
  }
  [part=gone]:not(:empty) {
    color: var(--status-gone-text, #fff);
    background: var(--status-gone, #b3152b);
    box-shadow: var(--status-shadow, 0 4px 16px rgb(0 0 0 / .18));
  }
  .spinner {
    flex: none; width: 1em; height: 1em; border-radius: 50%;
    border: .1875em solid currentcolor; border-top-color: transparent;
    animation: turn .8s linear infinite;
  }
  .mark {
    flex: none; display: grid; place-items: center; width: 1.25em; height: 1.25em;
    border: .125em solid currentcolor; border-radius: 50%; font-weight: 700;
  }
  .mark::before { content: "!"; content: "!" / ""; font-size: .8em; line-height: 1; }
  button {
    margin-inline-start: auto; padding: .25rem .75rem; min-height: 2rem; flex: none;
    font: inherit; font-weight: 600; cursor: pointer;
    color: inherit; background: transparent; border: 1.5px solid currentcolor; border-radius: 999px;
  }
  button:hover { background: rgb(255 255 255 / .15); }
  button:focus-visible { outline: 3px solid currentcolor; outline-offset: 2px; }
  @keyframes turn { to { transform: rotate(1turn); } }
  @keyframes enter { from { opacity: 0; transform: translateY(-.5rem); } }
  @media (prefers-reduced-motion: reduce) {
    [role]:not(:empty) { animation: none; }
    .spinner { animation: breathe 2s ease-in-out infinite; }
    @keyframes breathe { 50% { opacity: .5; } }
  }
`);
