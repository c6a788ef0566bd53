// How the page's code is written; tsc (tsconfig.json) checks its types and names.

const js = require("@eslint/js"); // a CommonJS module: package.json declares none

module.exports = [
  { ignores: ["static/vendor/**", "eslint.config.js"] },
  js.configs.recommended,
  {
    files: ["static/**/*.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module" },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "off", // tsc knows the browser's names
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "array-callback-return": ["error", { checkForEach: false }],
      "default-case-last": "error",
      "eqeqeq": "error",
      "max-lines": ["error", 400],
      "no-constructor-return": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-promise-executor-return": "off",
      "no-restricted-properties": ["error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property, message: "text from files never becomes HTML: use h()" }))],
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-template-curly-in-string": "error",
      "no-unmodified-loop-condition": "error",
      "no-unreachable-loop": "error",
      "no-useless-assignment": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "require-atomic-updates": "off",
    },
  },
];
