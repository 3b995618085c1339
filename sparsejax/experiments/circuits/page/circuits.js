sj.fill("circuits", sj.el("p", {}, "…"));
