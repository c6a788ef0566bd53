// What other scripts put on the window.

interface Window {
  niivue: any; // vendor/niivue.js
  promptseg: import("./static/app.js").App; // for people who look, and for tests
}
