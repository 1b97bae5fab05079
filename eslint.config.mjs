import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["book/_static/try/{models,photos,runtime}/**"] },
  js.configs.recommended,
  {
    files: ["book/_static/try/**/*.js"],
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "script", // modules do not load from file://
      globals: { ...globals.browser, DSDTry: "readonly" },
    },
    rules: {
      curly: ["error", "multi-line"],
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-var": "error",
      "prefer-const": "error",
    },
  },
];
