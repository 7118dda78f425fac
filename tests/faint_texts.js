// The visible texts of a page whose contrast with what is behind them is below 4.5:1, or 3:1 where
// they are large (WCAG 2.2, level AA), as [text, contrast]. Colours are painted to be read: CSS has
// many ways to write them, and grounds lie over one another.
() => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const painted = colours => {
    pen.clearRect(0, 0, 1, 1);
    for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map(value => value / 255);
  };
  const luminance = rgb => rgb.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    const grounds = ["white"];
    for (let e = element; e; e = e.parentElement)
      grounds.splice(1, 0, getComputedStyle(e).backgroundColor);
    return grounds;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    const look = getComputedStyle(element), box = element.getBoundingClientRect();
    if (!text || element.closest("style, script, :disabled") || box.width < 2 || look.opacity == 0
        || !element.checkVisibility({visibilityProperty: true})) continue;
    const grounds = behind(element);
    const [low, high] = [painted([...grounds, look.color]), painted(grounds)].map(luminance)
      .sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05), size = parseFloat(look.fontSize);
    const large = size >= 24 || (size >= 18.66 && look.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) faint.push([text.slice(0, 40), contrast.toFixed(2)]);
  }
  return faint;
}
