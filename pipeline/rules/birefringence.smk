# Rotation of polarisation from the run's own EB and TB, and figures of squeezed states.

ROTATION = config.get("birefringence")
QUANTUM = config.get("quantum_states")
ROTATION_FIGURES = [
    *(["<results>/figures/birefringence.png"] if ROTATION else []),
    *(["<results>/figures/quantum_states.png"] if QUANTUM else []),
]
ROTATION_PRODUCTS = {
    **({"birefringence": "<results>/features/birefringence.json"} if ROTATION else {}),
    **({"quantum_states": "<results>/features/quantum_states.json"} if QUANTUM else {}),
}

if ROTATION:

    rule fit_rotation:
        input:
            spectra=f"<results>/spectra/{PAIR}.sacc.fits",
            leakage=f"<results>/spectra/{PAIR}.leakage.fits",
            theory="<results>/theory/fiducial.txt",
        output:
            rotation="<results>/features/birefringence.json",
            curves="<results>/features/birefringence.curves.json",
        log:
            "<logs>/fit_rotation.log",
        benchmark:
            "<benchmarks>/fit_rotation.jsonl"
        conda:
            ENVIRONMENT
        params:
            pairs=ROTATION["pairs"],
            calibration=ROTATION["calibration_deg"],
            simulations=ROTATION["simulations"],
            seed=SEED,
            code=code("fit_rotation"),
        shell:
            "python -m pipeline.fit_rotation --spectra {input.spectra} --theory {input.theory} --pairs {params.pairs}"
            " --calibration-deg {params.calibration} --simulations {params.simulations} --seed {params.seed}"
            " --output {output.rotation} --curves {output.curves} > {log} 2>&1"

    rule plot_rotation:
        input:
            rotation="<results>/features/birefringence.json",
            curves="<results>/features/birefringence.curves.json",
        output:
            png=report(
                "<results>/figures/birefringence.png",
                caption="../report/birefringence.rst",
                category="Models",
                labels={"figure": "rotation of polarisation"},
            ),
            pdf="<results>/figures/birefringence.pdf",
            csv="<results>/figures/birefringence.csv",
        log:
            "<logs>/plot_rotation.log",
        conda:
            ENVIRONMENT
        params:
            code=code("plot_rotation"),
        shell:
            "stem={output.png}; python -m pipeline.plot_rotation --rotation {input.rotation} --curves {input.curves}"
            " --output ${{stem%.png}} > {log} 2>&1"


if QUANTUM:

    rule simulate_states:
        output:
            "<results>/features/quantum_states.json",
        log:
            "<logs>/simulate_states.log",
        benchmark:
            "<benchmarks>/simulate_states.jsonl"
        conda:
            ENVIRONMENT
        params:
            squeezing=QUANTUM["squeezing"],
            levels=QUANTUM["levels"],
            code=code("simulate_states"),
        shell:
            "python -m pipeline.simulate_states --squeezing {params.squeezing} --levels {params.levels}"
            " --output {output} > {log} 2>&1"

    rule plot_states:
        input:
            "<results>/features/quantum_states.json",
        output:
            png=report(
                "<results>/figures/quantum_states.png",
                caption="../report/quantum_states.rst",
                category="Models",
                labels={"figure": "squeezed states"},
            ),
            pdf="<results>/figures/quantum_states.pdf",
            csv="<results>/figures/quantum_states.csv",
        log:
            "<logs>/plot_states.log",
        conda:
            ENVIRONMENT
        params:
            code=code("plot_states"),
        shell:
            "stem={output.png}; python -m pipeline.plot_states --states {input}"
            " --output ${{stem%.png}} > {log} 2>&1"
