"""Logistic regression with a weak pull towards zero, as length control and the dissection of
judges use it.
"""

import numpy as np
from numpy.typing import NDArray


def fit_logistic(
    design: NDArray[np.float64], scores: NDArray[np.float64], precision: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise the penalised cross-entropy of P(score = 1) = sigmoid(design @ parameters).

    Args:
        design: (rows, parameters); a column of ones where there is an intercept.
        scores: (rows,) from 0 to 1.
        precision: (parameters,) of a normal prior around zero, so that columns that separate the
            scores still give finite parameters; 0 pulls nothing.

    Returns:
        The parameters, and their sandwich covariance: the sandwich and not the inverse Hessian,
        because continuous scores spread less than coin tosses would.
    """
    from scipy import optimize, special  # here, because they take a second to import

    penalty = np.diag(precision)

    def loss(parameters: NDArray[np.float64]) -> float:
        logits = design @ parameters
        cross_entropy = np.logaddexp(0, logits) - scores * logits
        return float(cross_entropy.sum() + parameters @ penalty @ parameters / 2)

    def gradient(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return design.T @ (special.expit(design @ parameters) - scores) + penalty @ parameters

    def hessian(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        chance = special.expit(design @ parameters)
        return design.T @ (design * (chance * (1 - chance))[:, None]) + penalty

    start = np.zeros(design.shape[1])
    fit = optimize.minimize(
        loss, start, method="trust-exact", jac=gradient, hess=hessian, options={"gtol": 1e-10}
    )
    inverse = np.linalg.inv(hessian(fit.x))
    residual = design * (scores - special.expit(design @ fit.x))[:, None]
    return fit.x, inverse @ (residual.T @ residual) @ inverse
