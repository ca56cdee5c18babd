/** What each finding means, in one sentence. */
export const MEANINGS = {
  Cardiomegaly: "The heart is enlarged: its width is usually more than half of the chest's on a frontal film, a sign that is less reliable on AP and supine films.",
  Emphysema: "Air spaces of the lung are permanently enlarged and their walls destroyed; the lungs look dark and overinflated, with flat diaphragms.",
  Effusion: "Fluid lies in the pleural space; upright, it blunts the costophrenic angle and rises along the chest wall.",
  Hernia: "Abdominal organs, most often part of the stomach, have passed through the diaphragm into the chest.",
  Infiltration: "An older and unspecific word for an ill-defined opacity of the lung, whatever fills its air spaces or interstitium.",
  Mass: "A rounded opacity in the lung larger than 3 cm.",
  Nodule: "A rounded opacity in the lung of at most 3 cm.",
  Atelectasis: "A part of the lung has lost air and volume, from a thin line to the collapse of a whole lung.",
  Pneumothorax: "Air lies in the pleural space; a fine pleural line shows, with no lung markings beyond it.",
  Pleural_Thickening: "The pleura is thickened, mostly by scar after inflammation, bleeding or exposure to asbestos.",
  Pneumonia: "Lung tissue is infected, mostly seen as an opacity; the image alone cannot prove an infection.",
  Fibrosis: "Lung tissue is scarred, seen as net-like opacities, often with loss of volume.",
  Edema: "Excess fluid is in the lung, most often from heart failure; vessels blur, septal lines and perihilar haze appear.",
  Consolidation: "Air in the alveoli is replaced by fluid, pus, blood or cells: a homogeneous opacity that hides vessels and may show air bronchograms.",
};
