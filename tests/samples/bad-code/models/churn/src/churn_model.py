class Churn:
    pass
