// The questions of one part: what is asked, what is given so far, and by which keys.

const STEP = 5;

export class Questions {
  // changed(): something was given; submit(): everything was, and nothing is left to say
  constructor(form, facts, { changed, submit, mark }) {
    Object.assign(this, { form, facts, changed, submit, mark });
    this.part = null;
    this.list = [];
  }

  build(part) {
    this.part = part;
    this.list = this.facts.parts[part].questions.map((key) => ({ key, ...this.facts.questions[key] }));
    this.form.replaceChildren(...this.list.map((question, index) => this.field(question, index)));
    this.form.classList.toggle("several", this.list.length > 1);
    this.clear();
  }

  // One key is the whole answer.
  get quick() {
    return this.list.every((q) => q.answers.length && !q.confidence && !q.mark && !q.free_text);
  }

  field(question, index) {
    const field = make("fieldset", { onpointerdown: () => this.activate(index) });
    field.append(make("legend", { textContent: question.text }));
    const answers = make("div", { className: "answers" });
    question.buttons = question.answers.map((answer) => {
      const button = make("button", { type: "button", onclick: () => this.pick(index, answer.value) });
      button.setAttribute("aria-keyshortcuts", answer.key);
      button.append(make("kbd", { textContent: answer.key }), make("span", { textContent: answer.label }));
      answers.append(button);
      return button;
    });
    field.append(answers);
    if (question.confidence) {
      const label = make("label", { className: "confidence" });
      question.output = make("output");
      question.slider = make("input", { type: "range", min: 0, max: 100, step: 1 });
      for (const kind of ["input", "change", "pointerup"]) {
        question.slider.addEventListener(kind, () => this.setConfidence(index, Number(question.slider.value)));
      }
      const head = make("span", { className: "head" });
      head.append(make("span", { textContent: "How sure are you?" }), question.output);
      const ends = make("span", { className: "ends", ariaHidden: "true" });
      ends.append(make("span", { textContent: "0 guess" }), make("span", { textContent: "100 certain" }));
      label.append(head, question.slider, ends);
      field.append(label);
    }
    if (question.mark) {
      const row = make("div", { className: "mark" });
      question.markText = make("span");
      const put = make("button", { type: "button", onclick: () => { this.activate(index); this.mark.begin(); } });
      put.append(make("kbd", { textContent: "m" }), " Mark");
      question.unmark = make("button", { type: "button", textContent: "Remove", onclick: () => this.setMark(null) });
      row.append(question.markText, put, question.unmark);
      field.append(row);
    }
    if (question.free_text) {
      const label = make("label", { className: "words" });
      const head = make("span", { className: "head" });
      head.append("Remarks (optional) ", make("kbd", { textContent: "t" }));
      question.words = make("textarea", { rows: 2, maxLength: 2000, oninput: () => this.changed() });
      label.append(head, question.words);
      field.append(label);
    }
    question.field = field;
    return field;
  }

  clear() {
    for (const question of this.list) {
      Object.assign(question, { value: "", sure: null, place: null });
      if (question.words) question.words.value = "";
      if (question.slider) question.slider.value = 50;
    }
    this.activate(0);
  }

  lock(locked) {
    this.form.inert = locked;
  }

  activate(index) {
    this.active = Math.min(this.list.length - 1, Math.max(0, index));
    this.paint();
  }

  pick(index, value) {
    this.list[index].value = value;
    this.active = index;
    if (!this.list[index].confidence) {
      const open = this.list.findIndex((question) => !this.complete(question));
      if (open >= 0) this.active = open;
    }
    this.paint();
    if (this.quick && this.done) this.submit();
  }

  setConfidence(index, sure) {
    this.list[index].sure = Math.min(100, Math.max(0, Math.round(sure)));
    this.active = index;
    this.paint();
  }

  setMark(place) {
    const question = this.marked;
    if (!question) return;
    question.place = place;
    this.mark.show(place);
    this.paint();
  }

  // The question that a mark belongs to: the active one, or the first that asks for one.
  get marked() {
    return this.list[this.active]?.mark ? this.list[this.active] : this.list.find((question) => question.mark);
  }

  paint() {
    this.list.forEach((question, index) => {
      question.field.classList.toggle("active", index === this.active);
      question.answers.forEach((answer, number) => {
        question.buttons[number].setAttribute("aria-pressed", String(answer.value === question.value));
      });
      if (question.slider) {
        if (question.sure !== null) question.slider.value = question.sure;
        question.slider.classList.toggle("unset", question.sure === null);
        question.output.textContent = question.sure === null ? "–" : question.sure;
        question.slider.setAttribute("aria-valuetext", question.sure === null ? "not set" : `${question.sure} of 100`);
      }
      if (question.mark) {
        question.markText.textContent = question.place ? "Place marked" : "No place marked (optional)";
        question.unmark.hidden = !question.place;
      }
    });
    this.changed();
  }

  complete(question) {
    return (!question.answers.length || question.value !== "") && (!question.confidence || question.sure !== null);
  }

  get done() {
    return this.list.every((question) => this.complete(question));
  }

  // What to do next, in words.
  get hint() {
    const question = this.list.find((one) => !this.complete(one));
    if (!question) return this.quick ? "" : "Enter stores the answer and shows the next image.";
    if (question.answers.length && !question.value) {
      return `Press ${question.answers.map((answer) => answer.key).join(" or ")}.`;
    }
    return `How sure? ← → ${this.digits(question) ? "or a digit (1 = 10 … 9 = 90, 0 = 100)" : "or Page ↑ ↓"}, then Enter.`;
  }

  get given() {
    const given = {};
    for (const question of this.list) {
      given[question.key] = {
        value: question.value,
        confidence: question.sure,
        mark: question.place,
        text: question.words ? question.words.value : "",
      };
    }
    return given;
  }

  // Digits set the confidence where no answer has a digit for its key.
  digits() {
    return !this.list.some((question) => question.answers.some((answer) => /\d/.test(answer.key)));
  }

  // Take a key for an answer; false where it is none.
  answerKey(key) {
    const find = (question, same) => question.answers.find((answer) => same(answer.key));
    for (const same of [(k) => k === key, (k) => k.toLowerCase() === key.toLowerCase()]) {
      const order = [this.active, ...this.list.keys()];
      for (const index of order) {
        const answer = this.list[index] && find(this.list[index], same);
        if (answer) {
          this.pick(index, answer.value);
          return true;
        }
      }
    }
    return false;
  }

  // Take a key for the confidence of the active question, or of the only one that asks for it.
  confidenceKey(key, fine) {
    const index = this.list[this.active]?.confidence ? this.active : this.list.findIndex((q) => q.confidence);
    if (index < 0) return false;
    const now = this.list[index].sure ?? 50;
    const step = fine ? 1 : STEP;
    const moves = {
      ArrowRight: now + step, ArrowLeft: now - step, PageUp: now + 20, PageDown: now - 20, Home: 0, End: 100,
    };
    let sure = moves[key];
    if (sure === undefined && /^\d$/.test(key) && this.digits()) sure = key === "0" ? 100 : 10 * Number(key);
    if (sure === undefined) return false;
    this.setConfidence(index, sure);
    return true;
  }

  focusWords() {
    const question = this.list[this.active]?.words ? this.list[this.active] : this.list.find((q) => q.words);
    if (question) question.words.focus();
    return Boolean(question);
  }
}

export function make(tag, values = {}) {
  return Object.assign(document.createElement(tag), values);
}
