// Runs where it stands, inside its own <figure>; it knows no other explorer and leaves no global behind.
(() => {
  const figure = document.currentScript.closest("figure");
  const image = figure.querySelector("img");
  const says = figure.querySelector("[role=status]");
  const rows = [...figure.querySelectorAll(".explore-row")];
  const sliders = rows.map((row) => row.querySelector("input"));
  const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  data.frames[data.frames.indexOf(null)] = image.src;

  const show = () => {
    let at = 0;  // the last slider runs fastest
    sliders.forEach((slider, i) => {
      const text = data.texts[i][slider.value];
      at = at * data.texts[i].length + Number(slider.value);
      slider.setAttribute("aria-valuetext", text);
      rows[i].querySelector("output").textContent = text;
    });
    image.src = data.frames[data.shown[at]];
    image.alt = says.textContent = data.alts[at];
  };

  for (const slider of sliders) slider.addEventListener("input", show);
  figure.querySelector(".explore-sliders").hidden = false;
})();
