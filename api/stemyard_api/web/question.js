// Question: a dialog that asks before something is done, and shows why it could not be.

import { Problem } from "./client.js";
import { at, say } from "./elements.js";

export class Question {
  #act = null;

  constructor() {
    at("question-yes").addEventListener("click", () => this.#answer());
    at("question-no").addEventListener("click", () => at("question").close());
    at("question-number").addEventListener("keydown", (event) => event.key === "Enter" && this.#answer());
  }

  /**
   * Asks; `act(number)` is called and awaited if the answer is yes. Its Problem is shown, and the dialog stays open.
   *
   * `number` is `{ label, value, min, max }` for a field of a whole number, absent where none is needed.
   */
  ask({ title, text, yes, no, danger = false, number = null, act }) {
    this.#act = act;
    say(at("question-title"), title);
    say(at("question-text"), text);
    say(at("question-yes"), yes);
    say(at("question-no"), no);
    say(at("question-problem"), "");
    at("question-yes").classList.toggle("danger", danger);
    at("question-yes").disabled = false;
    at("question-field").hidden = !number;
    at("question").showModal();
    if (!number) return at("question-no").focus();
    say(at("question-label"), number.label);
    Object.assign(at("question-number"), { min: number.min, max: number.max, value: number.value });
    at("question-number").select();
  }

  async #answer() {
    const field = at("question-number");
    if (!at("question-field").hidden && (field.value === "" || !field.checkValidity())) {
      say(at("question-problem"), `Enter a whole number from ${field.min} to ${field.max}.`);
      return field.focus();
    }
    at("question-yes").disabled = true;
    try {
      await this.#act(Number(field.value));
      at("question").close();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      say(at("question-problem"), `${error.message} (${error.code})`);
    } finally {
      at("question-yes").disabled = false;
    }
  }
}
