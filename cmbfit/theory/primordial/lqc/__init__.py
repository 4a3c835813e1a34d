"""Loop quantum cosmology with an inflaton: from the bounce through the kinetic era and inflation to P(k)."""
